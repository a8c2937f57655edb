"""Gray levels: contrast-limited adaptive histogram equalisation (CLAHE)."""

import cv2
import numpy as np
from numpy.typing import NDArray


def equalise_adaptively(pixels_u8: NDArray[np.uint8], clip_limit: float = 2.0, tile: int = 8) -> NDArray[np.uint8]:
    """The image with its contrast raised tile by tile, as in Zuiderveld 1994 (Graphics Gems IV, VIII.5).

    The defaults are the study's (study 2.1, step 5), applied at native size, before any resizing.

    Warning: it lifts noise in dark background and makes gray levels incomparable between images.

    Args:
        pixels_u8: (H, W) uint8, gray levels 0..255.
        clip_limit: height at which each tile's histogram is cut, in multiples of its mean; higher is more contrast.
        tile: tiles along each axis.

    Returns:
        (H, W) uint8, gray levels 0..255.
    """
    # A new object per call: one CLAHE object holds buffers that two threads must not share.
    clahe = cv2.createCLAHE(clipLimit=clip_limit, tileGridSize=(tile, tile))
    return np.asarray(clahe.apply(pixels_u8), dtype=np.uint8)
