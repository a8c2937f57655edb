"""Square images of one size: the study's size filter, fitting into a square, and resizing."""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.tumour import TumourClass

Interpolation = Literal["bilinear", "area"]

ASPECT_TOLERANCE = 0.1  # study 2.1, step 2: notumor keeps 0.9 W <= H <= 1.1 W and 0.9 H <= W <= 1.1 H
_BACKGROUND_PERCENTILE = 5.0


def is_nearly_square(width: int, height: int, tolerance: float = ASPECT_TOLERANCE) -> bool:
    """Whether each side is within `tolerance` (a share) of the other."""
    low, high = 1.0 - tolerance, 1.0 + tolerance
    return low * width <= height <= high * width and low * height <= width <= high * height


def passes_study_filter(width: int, height: int, tumour_class: str | None) -> bool:
    """Whether the study kept an image of this size: notumor within 10 %, every other class only when square."""
    if tumour_class == TumourClass.NOTUMOR:
        return is_nearly_square(width, height)
    return width == height


def resize(pixels_u8: NDArray[np.uint8], width: int, height: int, interpolation: Interpolation) -> NDArray[np.uint8]:
    """The image at width x height.

    Warning: `bilinear` reads four neighbours whatever the reduction, so it aliases when it shrinks by more than
    two; the study did that (512 -> 256). `area` averages when it shrinks and is bilinear when it enlarges.

    Args:
        pixels_u8: (H, W) uint8, gray levels 0..255.
        width: columns of the result.
        height: rows of the result.
        interpolation: how new pixels are computed.
    """
    shrinks = width <= pixels_u8.shape[1] and height <= pixels_u8.shape[0]
    flag = cv2.INTER_AREA if interpolation == "area" and shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels_u8, (width, height), interpolation=flag), dtype=np.uint8)


def background_level(pixels_u8: NDArray[np.uint8]) -> int:
    """The gray level to pad with: the 5th percentile of the image.

    Black bars around a scan whose background is not black would tell a classifier which images were not square. The
    border alone is no guide: some images of the data set have a white frame.
    """
    return int(np.percentile(pixels_u8, _BACKGROUND_PERCENTILE))


def fit_square(
    pixels_u8: NDArray[np.uint8], size_px: int, interpolation: Interpolation
) -> tuple[NDArray[np.uint8], int]:
    """The whole image, in its own proportions, centred in a square; and the level that fills the rest.

    Resizing comes first, so an image of 16 x 100,000 pixels never becomes a square of 10 gigapixels.

    Args:
        pixels_u8: (H, W) uint8, gray levels 0..255.
        size_px: side of the square.
        interpolation: how new pixels are computed.

    Returns:
        (size_px, size_px) uint8 in 0..255, and the gray level of the padding.
    """
    height, width = pixels_u8.shape
    scale = size_px / max(height, width)
    fitted = resize(pixels_u8, max(1, round(width * scale)), max(1, round(height * scale)), interpolation)
    level = background_level(pixels_u8)
    square = np.full((size_px, size_px), level, dtype=np.uint8)
    top, left = (size_px - fitted.shape[0]) // 2, (size_px - fitted.shape[1]) // 2
    square[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
    return square, level
