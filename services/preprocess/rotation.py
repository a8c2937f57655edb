"""Many images of one size turned by one angle together: SciPy's rotation, to the bit, in half of its time.

`scipy.ndimage.rotate` computes for every image anew where each of its pixels comes from and with which 16 weights. For
one size and angle these are the same numbers, a sparse matrix, and one multiplication turns a whole batch. The sums are
SciPy's in 64 bits up to the last of them, so after rounding to 8 bits every pixel is SciPy's; tests compare them.
"""

import threading
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
LEAST_ALIKE = 12
"""With fewer images of one size and angle the matrix costs more than it saves."""
BATCH = 8
"""Images in one multiplication; their splines take 8 bytes a pixel each."""
LEAST_SIDE_PX = 64
"""The splines of shorter sides feel both ends."""
MOST_PIXELS = 300_000
"""Of larger images the matrix, 200 bytes a pixel, would take too much memory."""

_POLE = 3**0.5 - 2
_building = threading.Lock()


def fits(n_images: int, height: int, width: int, angle_deg: int) -> bool:
    """Whether so many images of this size are worth turning together, and can be."""
    # At multiples of 45 degrees pixels fall on each other or half-way between, and the last bit of a sum decides.
    return (
        bool(angle_deg % 45)
        and n_images >= LEAST_ALIKE
        and min(height, width) >= LEAST_SIDE_PX
        and height * width <= MOST_PIXELS
    )


def rotate_together(images_u8: Sequence[Pixels], angle_deg: int) -> list[Pixels]:
    """The images turned about their centres as `geometry.rotate` turns each.

    Args:
        images_u8: (H, W) uint8 each, gray levels 0..255, all of one size, see `fits`.
        angle_deg: degrees, counter-clockwise.
    """
    height, width = images_u8[0].shape
    with _building:
        weights = _rotation_weights(height, width, angle_deg)
    splines = _filter_splines(_filter_splines(np.stack(images_u8, axis=2).astype(np.float64)).transpose(1, 0, 2))
    levels = weights @ splines.transpose(1, 0, 2).reshape(height * width, -1)  # (H * W, N) float64
    turned_u8 = np.clip(levels + 0.5, 0, 255).astype(np.uint8)  # SciPy's rounding: halves go up, below 0 is 0
    return [np.ascontiguousarray(column).reshape(height, width) for column in turned_u8.T]


def _filter_splines(values: Floats) -> Floats:
    """Cubic spline coefficients along the first axis, as `scipy.ndimage.spline_filter1d` with mirrored ends.

    A causal and an anticausal recursion (Unser 1999, doi:10.1109/79.799930, box 2), for all columns and images at once.

    Args:
        values: (L, ..., N) float64, L at least LEAST_SIDE_PX, so that what lies beyond is below the last bit.
    """
    coefficients = np.ascontiguousarray(values).reshape(len(values), -1)
    coefficients *= (1 - _POLE) * (1 - 1 / _POLE)
    coefficients[0] = _POLE ** np.arange(LEAST_SIDE_PX) @ coefficients[:LEAST_SIDE_PX]
    carried = np.empty_like(coefficients[0])
    for before, here in pairwise(coefficients):
        here += np.multiply(before, _POLE, out=carried)
    coefficients[-1] = (_POLE * coefficients[-2] + coefficients[-1]) * _POLE / (_POLE**2 - 1)
    for after, here in pairwise(coefficients[::-1]):
        np.subtract(after, here, out=here)
        here *= _POLE
    return coefficients.reshape(values.shape)


@lru_cache(maxsize=2)
def _rotation_weights(height: int, width: int, angle_deg: int) -> "csr_array":
    """(H * W, H * W): what each pixel of the turned image takes from each spline coefficient of the image.

    Pixels that come from outside take nothing. The coordinates are computed in the order in which SciPy computes them.
    """
    from scipy import sparse, special

    cosine, sine = special.cosdg(angle_deg), special.sindg(angle_deg)
    matrix = np.array([[cosine, sine], [-sine, cosine]])
    centre = (np.array([height, width]) - 1) / 2
    offset = centre - matrix @ centre
    row, column = np.arange(height, dtype=np.float64)[:, None], np.arange(width, dtype=np.float64)
    y, x = (((offset[k] + row * matrix[k, 0]) + column * matrix[k, 1]).ravel() for k in (0, 1))
    inside = np.flatnonzero((y >= 0) & (y <= height - 1) & (x >= 0) & (x <= width - 1))
    rows, row_weights = _cubic_taps(y[inside], height)
    columns, column_weights = _cubic_taps(x[inside], width)
    counts = np.zeros(height * width + 1, np.int32)
    counts[1 + inside] = 16
    values = (row_weights[:, :, None] * column_weights[:, None, :]).ravel()
    places = (rows[:, :, None] * np.int32(width) + columns[:, None, :]).ravel()
    return sparse.csr_array((values, places, np.cumsum(counts, dtype=np.int32)), shape=(height * width, height * width))


def _cubic_taps(positions: NDArray[np.float64], length: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The four samples around each position, (N, 4) int32 mirrored at the ends, and their weights, (N, 4) float64.

    The cubic B-spline of Unser 1999 (doi:10.1109/79.799930), eq. 7.
    """
    below = np.floor(positions)
    after = positions - below
    before = 1 - after
    weights = np.empty((len(positions), 4))
    weights[:, 0] = before**3 / 6
    weights[:, 1] = (after * after * (after - 2) * 3 + 4) / 6
    weights[:, 2] = (before * before * (before - 2) * 3 + 4) / 6
    weights[:, 3] = 1 - weights[:, 0] - weights[:, 1] - weights[:, 2]
    places = np.abs(below.astype(np.int32)[:, None] + np.arange(-1, 3, dtype=np.int32))
    return np.where(places > length - 1, 2 * (length - 1) - places, places).astype(np.int32), weights
