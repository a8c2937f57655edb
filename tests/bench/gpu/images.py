"""The images that both loops learn: those of a folder, or made-up ones, since no figure depends on what they show."""

from pathlib import Path

import numpy as np
from PIL import Image

from services.generator.images import ImageU8, decode_gray, enlarge_image, prepare_image, shrink_image
from services.generator.models.preset import Preset

_ENDINGS = {".png", ".jpg", ".jpeg"}
_JPEG_QUALITY = 95  # of the study's resized files
_LUMPS = 8


def make_up_images(n: int, size_px: int) -> list[ImageU8]:
    """`n` gray images of smooth lumps, (size_px, size_px) uint8."""
    lumps = np.random.default_rng(0).integers(0, 256, (n, _LUMPS, _LUMPS), dtype=np.uint8)
    return [enlarge_image(each, size_px) for each in lumps]


def read_images(folder: Path) -> list[ImageU8]:
    """All PNGs and JPEGs in `folder` and below, as gray levels."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _ENDINGS)
    return [decode_gray(path.read_bytes()) for path in paths]


def stack_for(preset: Preset, images: list[ImageU8]) -> ImageU8:
    """`images` as the platform prepares them for `preset`, (N, size_px, size_px) uint8."""
    return np.stack([prepare_image(image, preset) for image in images])


def write_jpegs(images: list[ImageU8], size_px: int, folder: Path) -> list[Path]:
    """The files that the study's loop reads: resized and saved as it did."""
    paths = [folder / f"{number:04d}.jpg" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(shrink_image(image, size_px, "bilinear")).save(path, quality=_JPEG_QUALITY)
    return paths
