"""Figure 5: what N4 makes of an image of each class, and the field it removes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from services.preprocess.bias_field import remove_bias_field
from services.preprocess.figures.examples import one_of_each_class
from services.preprocess.figures.style import FONT_PT, INK, clear, fit_longest, frame_square, new_figure, show_image
from services.preprocess.findings import Example
from services.preprocess.steps import BiasField

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CELL_IN = 1.55
_TICKS = (0.25, 0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 4)
_CLOSING = 0.08  # gaps in the head narrower than this share of the longer side, such as the skull's, are filled
_SMOOTHING = 0.04  # standard deviation, a share of the longer side; the fitted field is smoother still
_HEAD_LEVEL = 15  # gray levels at and below are air or ringing, where a ratio says nothing


def draw_bias_fields(examples: Sequence[Example], settings: BiasField) -> "Figure":
    """Three rows, a column for each class: before, after, and the field between them on one scale.

    Args:
        examples: the first of each class is shown.
        settings: of N4.
    """
    shown = one_of_each_class(examples)
    figure = new_figure(3 * _CELL_IN + 0.3, 0.9 + _CELL_IN * len(shown))
    grid = figure.subplots(3, len(shown), squeeze=False)
    fields = []
    for column, example in enumerate(shown):
        before = fit_longest(example.raw_u8)
        after = remove_bias_field(before, settings.shrink, settings.iterations)
        show_image(grid[0, column], before, example.tumour_class)
        show_image(grid[1, column], after)
        fields.append(estimate_field(before, after))
    reach = max(
        [float(np.nanmax(np.abs(np.log(field)))) for field in fields if np.isfinite(field).any()] + [np.log(1.1)]
    )
    for column, field in enumerate(fields):
        axes = grid[2, column]
        drawn = axes.imshow(np.log(field), cmap="PuOr_r", vmin=-reach, vmax=reach, interpolation="antialiased")
        frame_square(axes, field.shape)
        clear(axes)
    for row, name in enumerate(("as uploaded", "after N4", "field removed")):
        grid[row, 0].set_ylabel(name, fontsize=FONT_PT, fontweight="bold", color=INK)
    bar = figure.colorbar(drawn, ax=list(grid.ravel()), shrink=0.28, anchor=(0.0, 0.02), aspect=10, pad=0.02)
    ticks = [tick for tick in _TICKS if abs(np.log(tick)) <= reach]
    bar.set_ticks([float(np.log(tick)) for tick in ticks], labels=[f"{tick:g}" for tick in ticks])
    bar.ax.minorticks_off()
    bar.ax.tick_params(labelsize=FONT_PT, width=0.6, length=3)
    bar.set_label("before / after", fontsize=FONT_PT, color=INK)
    bar.outline.set_linewidth(0.4)
    return figure


def estimate_field(before_u8: NDArray[np.uint8], after_u8: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The field between two images: the ratio of their local means inside the head, 1 at its median, NaN outside.

    Means over a neighbourhood, weighted to the head (normalised convolution, Knutsson and Westin 1993,
    doi:10.1109/CVPR.1993.341081), undo the rounding of dark pixels to whole levels.

    Args:
        before_u8: (H, W) uint8, gray levels 0..255.
        after_u8: (H, W) uint8, the same image corrected.

    Returns:
        (H, W) float64, a ratio.
    """
    head = (before_u8 > _HEAD_LEVEL).astype(np.float64)
    sigma = _SMOOTHING * max(before_u8.shape)

    def smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT), dtype=np.float64)

    above, below = smooth(before_u8 * head), smooth(after_u8 * head)
    field = np.full(before_u8.shape, np.nan)
    seen = _fill(head) & (below > 0)
    field[seen] = above[seen] / below[seen]
    return field / np.median(field[seen]) if seen.any() else field


def _fill(head: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The mask without specks, and with its gaps closed."""
    speck, gap = (max(3, round(share * max(head.shape)) | 1) for share in (0.01, _CLOSING))
    mask = cv2.morphologyEx(head.astype(np.uint8), cv2.MORPH_OPEN, _disc(speck))
    # A border as wide as the disc, since closing at the edge of the array would otherwise eat into the head.
    wide = cv2.copyMakeBorder(mask, gap, gap, gap, gap, cv2.BORDER_CONSTANT, value=0)
    return np.asarray(cv2.morphologyEx(wide, cv2.MORPH_CLOSE, _disc(gap))[gap:-gap, gap:-gap] > 0)


def _disc(diameter_px: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter_px, diameter_px)), dtype=np.uint8)
