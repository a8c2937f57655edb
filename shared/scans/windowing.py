"""From stored levels to gray levels 0..255: the window of the scanner, or one from percentiles."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from shared.scans.errors import ScanNotFinite

PERCENTILES: Final = (0.5, 99.5)
"""Levels outside are black and white: a handful of very bright voxels, often vessels, would darken all others."""
_MAX_SAMPLES: Final = 2**24
_BLOCK_ROWS: Final = 256

WindowFunction = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]


@dataclass(frozen=True)
class Window:
    """Which levels become black and which white.

    Attributes:
        centre: the level that becomes middle gray, in units of the scan after rescaling.
        width: the span from black to white, same units.
        function: how levels between are mapped, in DICOM's terms.
        source: `tag` (the file gives it), `percentiles` (from its levels), `range` (all levels, where percentiles
            coincide).
    """

    centre: float
    width: float
    function: WindowFunction
    source: Literal["tag", "percentiles", "range"]

    def record(self) -> dict[str, Any]:
        """The window as JSON."""
        return asdict(self)

    def map_levels(self, levels: NDArray[Any]) -> NDArray[np.uint8]:
        """Gray levels 0..255 of `levels`, any shape and real dtype, in units after rescaling."""
        x = np.asarray(levels, dtype=np.float64)
        if self.function == "SIGMOID":  # DICOM PS3.3 section C.11.2.1.3.1
            with np.errstate(over="ignore"):
                share = 1.0 / (1.0 + np.exp(-4.0 * (x - self.centre) / self.width))
        elif self.function == "LINEAR_EXACT":  # DICOM PS3.3 section C.11.2.1.3.2
            share = (x - self.centre) / self.width + 0.5
        elif self.width > 1.0:  # LINEAR, DICOM PS3.3 section C.11.2.1.2.1
            share = (x - (self.centre - 0.5)) / (self.width - 1.0) + 0.5
        else:  # a width of 1 is a threshold, same section
            share = np.where(x > self.centre - 0.5, 1.0, 0.0)
        return np.rint(np.clip(share, 0.0, 1.0) * 255.0).astype(np.uint8)


def find_window(stored: NDArray[Any], slope: float = 1.0, intercept: float = 0.0) -> Window:
    """The window between the percentiles 0.5 and 99.5 of the levels, or their whole range where those coincide.

    Of more than 16 million samples only every k-th is looked at, which moves the window by far less than a gray level.

    Args:
        stored: any shape, integers or floats, finite, not empty.
        slope: levels are `stored * slope + intercept`; may be negative.
        intercept: see slope.

    Raises:
        ScanNotFinite: levels overflow when they are rescaled.
    """
    step = -(-stored.size // _MAX_SAMPLES)
    # Order "A" keeps what lies in memory: a view of a volume in Fortran order is not copied.
    samples = stored.ravel(order="A")[::step]
    source: Literal["percentiles", "range"] = "percentiles"
    with np.errstate(over="ignore", invalid="ignore"):  # looked at below
        ends = np.percentile(samples, PERCENTILES).astype(np.float64) * slope + intercept
        if ends[0] == ends[1]:
            ends = np.array([stored.min(), stored.max()], dtype=np.float64) * slope + intercept
            source = "range"
    low, high = sorted(float(end) for end in ends)
    if not math.isfinite(high - low):
        raise ScanNotFinite("The levels of the scan are beyond what numbers can hold; rescale it and save it again.")
    # A constant image becomes black: its level lies at the lower end.
    width = high - low if high > low else 1.0
    return Window(low + width / 2, width, "LINEAR_EXACT", source)


def render(stored: NDArray[Any], window: Window, slope: float = 1.0, intercept: float = 0.0) -> NDArray[np.uint8]:
    """Gray levels (H, W) uint8 of a slice (H, W) of stored levels; in blocks of rows, to spare memory."""
    pixels = np.empty(stored.shape, dtype=np.uint8)
    for top in range(0, stored.shape[0], _BLOCK_ROWS):
        rows = stored[top : top + _BLOCK_ROWS].astype(np.float64)
        pixels[top : top + _BLOCK_ROWS] = window.map_levels(rows * slope + intercept)
    return pixels
