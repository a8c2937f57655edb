"""The study's way of saving a generated image (study 3.3): turned, enlarged to twice its size, a JPEG of quality 75."""

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ENLARGEMENT: Final = 2
_ANGLE_DEG: Final = -90
_QUALITY: Final = 75
_DPI: Final = 100
_N_LEVELS: Final = 256
_GRAYS: Final = (np.linspace(0, 1, _N_LEVELS) * 255).astype(np.uint8)
"""matplotlib's gray map in bytes: truncated, so that 24 levels, such as 33, come out one lower."""


def to_study_jpeg(image_unit: NDArray[np.float32]) -> bytes:
    """The study's JPEG of an image as its network drew it, that is transposed; what comes out is mirrored left-right.

    The steps are scipy's `rotate` by -90 degrees and `zoom` by 2 with cubic splines, then matplotlib's `imsave` in gray
    between 0 and 1, whose colour map has 256 levels; it leaves quality and 4:2:0 subsampling to Pillow's defaults.

    Args:
        image_unit: (S, S) float32, nominally in [0, 1]; values outside are clipped after enlargement.
    """
    from scipy import ndimage

    turned = ndimage.rotate(image_unit, _ANGLE_DEG, reshape=False, order=3)
    enlarged = ndimage.zoom(turned, ENLARGEMENT)
    levels = np.clip(np.floor(enlarged * _N_LEVELS), 0, _N_LEVELS - 1).astype(np.uint8)
    stream = io.BytesIO()
    rgb = Image.fromarray(_GRAYS[levels]).convert("RGB")
    rgb.save(stream, "JPEG", quality=_QUALITY, subsampling=2, dpi=(_DPI, _DPI))
    return stream.getvalue()
