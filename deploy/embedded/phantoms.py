"""Write a small data set of brain phantoms, in the folders of the real one, where no data is at hand."""

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import rotate

from deploy.embedded.phantom_anatomy import SIDE_PX, X, Y, draw_head
from deploy.embedded.phantom_tumours import draw_tumour
from shared.tumour import CLASS_ORDER, Plane, Split, TumourClass

_PLANES = (Plane.AXIAL, Plane.CORONAL, Plane.SAGITTAL)
# The real notumor images are 94 % axial (study 1.1), which a classifier could learn instead of the tumour.
_PLANE_SHARES = {TumourClass.NOTUMOR: (0.5, 0.25, 0.25)}
_OTHER_SIZES = ((225, 225), (300, 300), (512, 512), (240, 288), (236, 256))
_OTHER_SIZE_SHARE = 0.12
_PNG_SHARE = 0.1


def write_phantoms(folder: Path, n_training: int = 100, n_testing: int = 25, seed: int = 0) -> int:
    """Write phantoms as `<split>/<class>/<file>` and return how many there are.

    The last Training glioma repeats the first, and the last Testing notumor repeats a Training one, so that the
    analysis report has a duplicate and a leak to show.

    Args:
        folder: where to; files of the same name are replaced.
        n_training: Training images of each class, at least 2.
        n_testing: Testing images of each class, at least 1.
        seed: the same seed gives the same images.
    """
    for split, n_images in ((Split.TRAINING, n_training), (Split.TESTING, n_testing)):
        for tumour_class in CLASS_ORDER:
            target = folder / split / tumour_class
            target.mkdir(parents=True, exist_ok=True)
            for index in range(n_images):
                rng = np.random.default_rng([seed, split == Split.TESTING, CLASS_ORDER.index(tumour_class), index])
                _write(target / f"{split[:2]}-{tumour_class[:2]}_{index:04d}", draw_phantom(tumour_class, rng), rng)
    _repeat(
        folder / Split.TRAINING / TumourClass.GLIOMA, 0, folder / Split.TRAINING / TumourClass.GLIOMA, n_training - 1
    )
    _repeat(
        folder / Split.TRAINING / TumourClass.NOTUMOR, 0, folder / Split.TESTING / TumourClass.NOTUMOR, n_testing - 1
    )
    return len(CLASS_ORDER) * (n_training + n_testing)


def draw_phantom(tumour_class: TumourClass, rng: np.random.Generator, plane: Plane | None = None) -> NDArray[np.uint8]:
    """One slice: (H, W) uint8, gray levels 0..255.

    Args:
        tumour_class: which tumour to draw, or none.
        rng: draws everything that varies.
        plane: the imaging plane; None draws one.
    """
    if plane is None:
        plane = _PLANES[rng.choice(3, p=_PLANE_SHARES.get(tumour_class, (1 / 3, 1 / 3, 1 / 3)))]
    low = tumour_class == TumourClass.PITUITARY or rng.random() < 0.25
    levels = draw_tumour(draw_head(plane, rng, low), tumour_class, rng)
    levels = rotate(levels, rng.uniform(-7, 7), reshape=False, order=1)
    if plane != Plane.SAGITTAL and rng.random() < 0.5:
        levels = levels[:, ::-1]
    # The receive coil's sensitivity varies slowly over the head.
    levels = levels * (1 + rng.uniform(-0.15, 0.15) * X + rng.uniform(-0.15, 0.15) * Y)
    levels = np.clip(levels, 0, 1.2) ** rng.uniform(0.9, 1.25) * rng.uniform(0.75, 1.0)
    return _scan(levels, rng)


def _scan(levels: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The slice at its final size, with the noise of a magnitude image."""
    width, height = SIDE_PX, SIDE_PX
    if rng.random() < _OTHER_SIZE_SHARE:
        width, height = _OTHER_SIZES[rng.integers(len(_OTHER_SIZES))]
    image = Image.fromarray(levels.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    signal = np.asarray(image, dtype=np.float64)
    sigma = rng.uniform(0.010, 0.022)
    # Magnitude of a signal with Gaussian noise in both channels: Gudbjartsson and Patz 1995, eq. 1 (Rician).
    noisy = np.hypot(signal + rng.normal(0, sigma, signal.shape), rng.normal(0, sigma, signal.shape))
    return np.asarray(np.clip(np.rint(noisy * 255), 0, 255), dtype=np.uint8)


def _write(stem: Path, pixels_u8: NDArray[np.uint8], rng: np.random.Generator) -> None:
    if rng.random() < _PNG_SHARE:
        Image.fromarray(pixels_u8).save(stem.with_suffix(".png"))
    else:
        Image.fromarray(pixels_u8).save(stem.with_suffix(".jpg"), quality=92)


def _repeat(source: Path, source_index: int, target: Path, target_index: int) -> None:
    """Put a copy of one image in the place of another."""
    original = next(source.glob(f"*_{source_index:04d}.*"))
    replaced = next(target.glob(f"*_{target_index:04d}.*"))
    replaced.unlink()
    shutil.copyfile(original, replaced.with_suffix(original.suffix))
