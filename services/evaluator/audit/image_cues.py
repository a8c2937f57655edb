"""What can be measured on one image without knowing what it shows: sharpness, spectrum, gray levels, JPEG blocks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from services.evaluator.audit.spectra import high_frequency_share, radial_power

N_LEVEL_BINS: Final = 16
N_SPECTRUM_BANDS: Final = 32
JPEG_BLOCK_PX: Final = 8


@dataclass(frozen=True)
class ImageCues:
    """Measures of n images.

    Attributes:
        sharpness: (n,) variance of the Laplacian, gray levels squared.
        high_frequency: (n,) share of spectral power above half the Nyquist frequency.
        brightness: (n,) mean gray level, 0..255.
        contrast: (n,) standard deviation of the gray levels.
        jpeg_blocks: (n,) mean step between neighbouring pixels across the borders of 8 x 8 blocks over that elsewhere.
        frequencies: (b,) cycles per pixel.
        power: (n, b) radial power, see `radial_power`.
        levels: (n, 16) share of pixels in bins of 16 gray levels.
    """

    sharpness: NDArray[np.float64]
    high_frequency: NDArray[np.float64]
    brightness: NDArray[np.float64]
    contrast: NDArray[np.float64]
    jpeg_blocks: NDArray[np.float64]
    frequencies: NDArray[np.float64]
    power: NDArray[np.float64]
    levels: NDArray[np.float64]

    def features(self) -> NDArray[np.float64]:
        """(n, f) for a detector: the logarithm of the spectrum's shape in 32 bands, the levels, and each measure."""
        shares = self.power / np.maximum(self.power.sum(axis=1, keepdims=True), 1e-12)
        bands = np.array_split(np.arange(shares.shape[1]), min(N_SPECTRUM_BANDS, shares.shape[1]))
        spectrum = np.stack([shares[:, band].sum(axis=1) for band in bands], axis=1)
        single = np.stack([np.log(self.sharpness + 1), self.brightness, self.contrast, self.jpeg_blocks], axis=1)
        return np.concatenate([np.log(spectrum + 1e-9), self.levels, single], axis=1)


FEATURES: Final = (
    f"{N_SPECTRUM_BANDS} bands of the radial log spectrum, {N_LEVEL_BINS} bins of the gray-level histogram, "
    "log sharpness, brightness, contrast, JPEG block steps"
)


def measure_images(images_u8: NDArray[np.uint8], check: Callable[[], None] = lambda: None) -> ImageCues:
    """All measures of n images.

    Args:
        images_u8: (n, h, w) uint8, gray levels 0..255.
        check: called for every image; what it raises ends the work.
    """
    frequencies, power = radial_power(images_u8)
    rows = []
    for image in images_u8:
        check()
        levels = np.bincount(image.ravel(), minlength=256).reshape(N_LEVEL_BINS, -1).sum(axis=1) / image.size
        # The 4-neighbour Laplacian and its variance: Pech-Pacheco et al. 2000, doi:10.1109/ICPR.2000.903548.
        sharpness = float(cv2.Laplacian(image, cv2.CV_64F).var())
        rows.append([sharpness, float(image.mean()), float(image.std()), measure_jpeg_blocks(image), *levels])
    table = np.array(rows)
    return ImageCues(
        table[:, 0],
        high_frequency_share(frequencies, power),
        table[:, 1],
        table[:, 2],
        table[:, 3],
        frequencies,
        power,
        table[:, 4:],
    )


def measure_jpeg_blocks(image: NDArray[np.uint8]) -> float:
    """How much larger the steps across borders of 8 x 8 pixels are than all others; 1 without blocks.

    The blocking measure B of Wang, Sheikh and Bovik 2002 (doi:10.1109/ICIP.2002.1038064, eq. 1), here over the other
    steps, so that contrast cancels. It sees blocks on the grid of the stored pixels only, not those of an image that
    was resized after it had been a JPEG.

    Args:
        image: (h, w) uint8, gray levels 0..255.
    """
    pixels = image.astype(np.float32)
    borders, others = [], []
    for steps in (np.abs(np.diff(pixels, axis=1)).mean(axis=0), np.abs(np.diff(pixels, axis=0)).mean(axis=1)):
        at_border = np.arange(1, len(steps) + 1) % JPEG_BLOCK_PX == 0
        borders.append(steps[at_border])
        others.append(steps[~at_border])
    across, within = np.concatenate(borders), np.concatenate(others)
    return float(across.mean() / within.mean()) if len(across) and within.mean() > 0 else 1.0
