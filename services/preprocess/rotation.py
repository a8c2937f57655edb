"""Many images of one size turned by one angle together: SciPy's rotation, to the bit, in half of its time.

`scipy.ndimage.rotate` computes for every image anew where each of its pixels comes from and with which 16 weights. For
one size and angle these are the same numbers, a sparse matrix, and one multiplication turns a whole batch. The sums are
those of SciPy in 64 bits, so after rounding to 8 bits every pixel is SciPy's; a test compares them.
"""

import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Pixels = NDArray[np.uint8]
LEAST_ALIKE = 12
"""With fewer images of one size and angle the matrix costs more than it saves."""
BATCH = 8
"""Images in one multiplication; their splines take 8 bytes a pixel each."""
MOST_PIXELS = 300_000
"""Of larger images the matrix, 200 bytes a pixel, would take too much memory."""

_building = threading.Lock()


def rotate_together(images_u8: Sequence[Pixels], angle_deg: int) -> list[Pixels]:
    """The images turned about their centres as `geometry.rotate` turns each.

    Args:
        images_u8: (H, W) uint8 each, gray levels 0..255, all of one size of at most MOST_PIXELS pixels.
        angle_deg: degrees, counter-clockwise; not a multiple of 90, where pixels fall on each other and the last bit of
            a coordinate decides whether one at the rim lies inside.
    """
    from scipy import ndimage

    height, width = images_u8[0].shape
    with _building:
        weights = _rotation_weights(height, width, angle_deg)
    splines = np.stack([ndimage.spline_filter(image_u8).ravel() for image_u8 in images_u8], axis=1)
    levels = weights @ splines  # (H * W, N) float64
    turned_u8 = np.clip(levels + 0.5, 0, 255).astype(np.uint8)  # SciPy's rounding: halves go up, below 0 is 0
    return [np.ascontiguousarray(column).reshape(height, width) for column in turned_u8.T]


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
