"""Size and position: rotating, mirroring, the study's size filter, fitting into a square, and resizing."""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.tumour import TumourClass

Interpolation = Literal["bilinear", "area", "lanczos"]

ASPECT_TOLERANCE = 0.1  # study 2.1, step 2: notumor keeps 0.9 W <= H <= 1.1 W and 0.9 H <= W <= 1.1 H
_BACKGROUND_PERCENTILE = 5.0


def rotate(pixels_u8: NDArray[np.uint8], angle_deg: float) -> NDArray[np.uint8]:
    """The image turned about its centre, of the same size; corners that come from outside are black.

    Cubic splines on the 8-bit levels, as the study did with SciPy's defaults (study 2.1, step 4).

    Args:
        pixels_u8: (H, W) uint8, gray levels 0..255.
        angle_deg: degrees, counter-clockwise.
    """
    from scipy import ndimage

    return np.asarray(ndimage.rotate(pixels_u8, angle_deg, reshape=False), dtype=np.uint8)


def mirror(pixels_u8: NDArray[np.uint8], *, horizontal: bool, vertical: bool) -> NDArray[np.uint8]:
    """The image mirrored left to right, top to bottom, or both.

    Args:
        pixels_u8: (H, W) uint8, gray levels 0..255.
        horizontal: whether left and right change places.
        vertical: whether top and bottom change places.
    """
    return np.ascontiguousarray(pixels_u8[:: -1 if vertical else 1, :: -1 if horizontal else 1])


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
    two; the study did that (512 -> 256). `area` averages when it shrinks and is bilinear when it enlarges. `lanczos`
    weighs 8 x 8 neighbours of the result's scale; it is the sharpest and may ring beside a bright skull.

    Args:
        pixels_u8: (H, W) uint8, gray levels 0..255.
        width: columns of the result.
        height: rows of the result.
        interpolation: how new pixels are computed.
    """
    if interpolation == "lanczos":
        # Pillow widens the kernel when it shrinks; OpenCV's Lanczos does not and aliases like its bilinear.
        resized = Image.fromarray(pixels_u8).resize((width, height), Image.Resampling.LANCZOS)
        return np.asarray(resized, dtype=np.uint8)
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
