"""One image turned and moved until it lies on another, and how alike the two then are."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

VERIFY_PX: Final = 128
"""Side at which two images are compared."""

_ALIGN_PX: Final = 64
_ALIGN_STEPS: Final = 30
_ALIGN_GAIN: Final = 1e-5
_ALIGN_BLUR_PX: Final = 3
_SHARPNESS_SIGMAS_PX: Final = (0.0, 0.75, 1.5)
_FINE_SIGMA_PX: Final = 1.0
_COARSE_SIGMA_PX: Final = 3.0
_MARGIN_PX: Final = 5

Plane = NDArray[np.float32]
"""(128, 128) float32 gray levels 0..255."""


@dataclass(frozen=True)
class Match:
    """A reference image laid on another.

    Attributes:
        correlation: Pearson correlation of the gray levels, -1..1, where the turned reference covers the image.
        edge_correlation: the same of the details: of the difference of two Gaussian blurs, 1 and 3 pixels of 128.
        angle_deg: how the reference is turned to lie on the image, counter-clockwise.
    """

    correlation: float
    edge_correlation: float
    angle_deg: float


def turn(image: NDArray[np.uint8], angle_deg: float) -> NDArray[np.uint8]:
    """The image turned counter-clockwise about its centre, linearly interpolated, corners 0.

    Args:
        image: (h, w) uint8, gray levels 0..255.
        angle_deg: degrees.
    """
    height, width = image.shape
    centre = ((width - 1) / 2, (height - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, float(angle_deg), 1.0)
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR), np.uint8)


def shrink(images_u8: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """(n, size_px, size_px) uint8, each pixel the mean of the area it covers.

    Args:
        images_u8: (n, h, w) uint8, gray levels 0..255.
        size_px: side wanted.
    """
    size = (size_px, size_px)
    rows = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images_u8]
    return np.array(rows, dtype=np.uint8).reshape(len(rows), *size)


def match_images(image: NDArray[np.uint8], reference: NDArray[np.uint8], start_deg: float) -> Match:
    """The reference registered to the image by rotation and shift, and how well both agree then.

    The registration maximises the enhanced correlation coefficient (Evangelidis and Psarakis 2008,
    doi:10.1109/TPAMI.2008.113) at 64 x 64 pixels. A blurred or upsampled copy must not hide behind its lost sharpness,
    so the reference is also blurred, and the blur counts that correlates best.

    Args:
        image: (128, 128) uint8, gray levels 0..255.
        reference: (128, 128) uint8, gray levels 0..255.
        start_deg: rotation of the reference to start from, degrees counter-clockwise.
    """
    warp = _register(image, reference, start_deg)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (VERIFY_PX, VERIFY_PX)
    moved = np.asarray(cv2.warpAffine(reference.astype(np.float32), warp, size, flags=flags), np.float32)
    covered = cv2.warpAffine(np.ones(size, np.uint8), warp, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    inside = cv2.erode(covered, np.ones((_MARGIN_PX, _MARGIN_PX), np.uint8)).astype(bool)
    if inside.sum() < inside.size // 4:
        return Match(-1.0, -1.0, 0.0)
    pixels = image.astype(np.float32)
    blurred = [_blur(moved, sigma) for sigma in _SHARPNESS_SIGMAS_PX]
    correlations = [_correlate(pixels, candidate, inside) for candidate in blurred]
    best = int(np.argmax(correlations))
    edges = _correlate(_keep_details(pixels), _keep_details(blurred[best]), inside)
    angle_deg = float(np.degrees(np.arctan2(warp[0, 1], warp[0, 0])))
    return Match(correlations[best], edges, -angle_deg)


def _register(image: NDArray[np.uint8], reference: NDArray[np.uint8], start_deg: float) -> Plane:
    """(2, 3) float32 map from pixels of the image to pixels of the reference, both at 128 px."""
    small, small_reference = shrink(np.stack([image, reference]), _ALIGN_PX).astype(np.float32)
    centre = (_ALIGN_PX - 1) / 2
    turned = cv2.getRotationMatrix2D((centre, centre), float(start_deg), 1.0)
    warp = cv2.invertAffineTransform(turned).astype(np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _ALIGN_STEPS, _ALIGN_GAIN)
    everywhere = np.ones((_ALIGN_PX, _ALIGN_PX), np.uint8)
    # It does not converge where the two images have nothing in common; the start then stands.
    with suppress(cv2.error):
        _, found = cv2.findTransformECC(
            small, small_reference, warp, cv2.MOTION_EUCLIDEAN, criteria, everywhere, _ALIGN_BLUR_PX
        )
        warp = np.asarray(found, np.float32)
    # Pixel centres lie at x + 1/2, so x_128 = scale * x_64 + offset.
    scale, offset = VERIFY_PX / _ALIGN_PX, (VERIFY_PX / _ALIGN_PX - 1) / 2
    linear = warp[:, :2]
    warp[:, 2] = scale * warp[:, 2] + offset - linear @ np.full(2, offset, np.float32)
    return np.asarray(warp, np.float32)


def _blur(image: Plane, sigma_px: float) -> Plane:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), np.float32) if sigma_px else image


def _keep_details(image: Plane) -> Plane:
    """The difference of two Gaussian blurs: edges and structures of some pixels' width, no brightness, no noise."""
    return _blur(image, _FINE_SIGMA_PX) - _blur(image, _COARSE_SIGMA_PX)


def _correlate(a: Plane, b: Plane, inside: NDArray[np.bool_]) -> float:
    """Pearson correlation of the pixels inside; 0 where one side has no contrast."""
    first, second = (side[inside].astype(np.float64) for side in (a, b))
    first, second = first - first.mean(), second - second.mean()
    length = np.sqrt((first @ first) * (second @ second))
    return float(first @ second / length) if length > 0 else 0.0
