"""Images the right way up: the one reading of the orientation tag, for whoever decodes an image.

A camera or scanner may store pixels turned and say so in a tag (Exif 2.32, 4.6.4 A, tag 0x0112). Libraries differ in
whether they honour it: OpenCV does unless asked for unchanged samples, Pillow only in a TIFF.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ORIENTATION_TAG: Final = 0x0112
UPRIGHT: Final = 1
_TRANSPOSITIONS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ROWS_REVERSED: Final = (3, 4, 6, 7)
_COLUMNS_REVERSED: Final = (2, 3, 7, 8)
_AXES_SWAPPED: Final = (5, 6, 7, 8)


def read_orientation(image: Image.Image) -> int:
    """The image's orientation tag, 1 (upright) to 8; 1 where there is none or it makes no sense.

    Warning: Pillow turns a TIFF while it decodes and forgets the tag, so ask before decoding to learn what the file
    said, and after decoding to learn what is left to do.

    Args:
        image: an opened image. A PNG is decoded here, because its tag may follow its pixels; its damage is raised as
            Pillow has it.
    """
    if image.format == "PNG":
        image.load()
    try:
        tag = image.getexif().get(ORIENTATION_TAG)
    except (MemoryError, TimeoutError):  # limits that a caller has set
        raise
    except Exception:  # noqa: BLE001 on hostile bytes Pillow's Exif parser raises nearly any type; the pixels may be fine
        return UPRIGHT
    return tag if isinstance(tag, int) and tag in _TRANSPOSITIONS else UPRIGHT


def turn_upright(image: Image.Image) -> Image.Image:
    """The decoded image as its orientation tag wants it seen; the very same object if nothing is to be turned."""
    image.load()
    method = _TRANSPOSITIONS.get(read_orientation(image))
    return image if method is None else image.transpose(method)


def turn_pixels(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Stored pixels as `orientation` wants them seen, contiguous in memory.

    Args:
        pixels: (H, W) or (H, W, C), any dtype and value space, as stored.
        orientation: 1..8; 5 to 8 swap rows and columns.
    """
    turned = pixels[:: -1 if orientation in _ROWS_REVERSED else 1, :: -1 if orientation in _COLUMNS_REVERSED else 1]
    return np.ascontiguousarray(turned.swapaxes(0, 1) if orientation in _AXES_SWAPPED else turned)
