"""Gray levels: contrast-limited adaptive histogram equalisation (CLAHE) and histogram matching."""

import cv2
import numpy as np
from numpy.typing import NDArray

_EXACT_IN_FLOAT32 = 2**24  # OpenCV counts in float32


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


def count_levels(pixels_u8: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(256,) int64: how many pixels have each gray level.

    Args:
        pixels_u8: (H, W) uint8, gray levels 0..255.
    """
    if pixels_u8.size >= _EXACT_IN_FLOAT32:
        return np.bincount(pixels_u8.ravel(), minlength=256)
    return cv2.calcHist([np.ascontiguousarray(pixels_u8)], [0], None, [256], [0, 256]).ravel().astype(np.int64)


def cumulative_shares(histograms: NDArray[np.integer]) -> NDArray[np.float64]:
    """(256,) float64 rising to 1: the cumulative mean of normalised histograms, the reference to match levels to.

    Each image counts the same. The study averaged pixel counts, so that large images dominated (study 2.1, step 6).

    Args:
        histograms: (N, 256), pixels of each image at each level.
    """
    shares = histograms / np.maximum(histograms.sum(axis=1, keepdims=True), 1)
    cumulative = np.cumsum(shares.mean(axis=0))
    return np.asarray(cumulative / max(float(cumulative[-1]), np.finfo(float).tiny))


def match_levels(pixels_u8: NDArray[np.uint8], reference: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The image with its gray levels mapped so that its cumulative histogram follows the reference.

    Each level goes to the reference level whose cumulative share is nearest to its own: the first that is not smaller,
    or the one before it if that is as close or closer; 255 if none is (the study's algorithm, study 2.1, step 6).

    Warning: it makes images of different anatomy alike; a slice with a large bright tumour is darkened for it.

    Args:
        pixels_u8: (H, W) uint8, gray levels 0..255.
        reference: (256,) float64 cumulative shares, as `cumulative_shares` gives them.

    Returns:
        (H, W) uint8, gray levels 0..255.
    """
    own = np.cumsum(count_levels(pixels_u8)) / pixels_u8.size
    above = np.searchsorted(reference, own, side="left")
    found = np.minimum(above, 255)
    below = np.maximum(found - 1, 0)
    closer = (above > 0) & (np.abs(own - reference[below]) <= np.abs(reference[found] - own))
    table = np.where(above > 255, 255, np.where(closer, below, found)).astype(np.uint8)
    return np.asarray(cv2.LUT(pixels_u8, table), dtype=np.uint8)
