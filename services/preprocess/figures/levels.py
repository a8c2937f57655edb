"""Figures 4 and 7: histograms of gray levels by class."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from services.preprocess.figures.style import FONT_PT, INK, NEUTRAL, class_colour, dress, in_order, new_figure, pale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEAST = 1e-5
Histograms = Mapping[str, NDArray[np.integer]]


def draw_levels(levels: Histograms, before: Histograms | None = None) -> "Figure":
    """The mean share of pixels at each gray level, and its spread between images, in a panel for each class.

    Args:
        levels: by class, (n, 256) pixels of each image at each gray level.
        before: the same of the images as uploaded, for a line to compare with.
    """
    classes = [name for name in in_order(levels) if len(levels[name])]
    n_columns = min(2, len(classes))
    n_rows = -(-len(classes) // n_columns)
    figure = new_figure(0.35 + 1.75 * n_rows, 7.2 if n_columns == 2 else 4.5)
    grid = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    for panel, (axes, name) in enumerate(zip(grid.ravel(), classes, strict=False)):
        if before is not None and len(before.get(name, ())):
            mean = _shares(before[name]).mean(axis=0)
            axes.plot(range(256), _visible(mean), color=NEUTRAL, linewidth=0.8, label="mean as uploaded")
        _draw_band(axes, _shares(levels[name]), class_colour(name))
        dress(axes, title=f"{name} (n = {len(levels[name])})")
        axes.set(yscale="log", xlim=(0, 255), ylim=(_LEAST, 1))
        axes.set_xticks([0, 64, 128, 192, 255])
        if panel == 0:
            axes.legend(loc="upper right", fontsize=FONT_PT, frameon=False)
    for axes in grid.ravel()[len(classes) :]:
        axes.set_axis_off()
    figure.supxlabel("gray level", fontsize=FONT_PT, color=INK)
    figure.supylabel("share of an image's pixels", fontsize=FONT_PT, color=INK)
    return figure


def _draw_band(axes: "Axes", shares: NDArray[np.float64], colour: str) -> None:
    low, high = np.percentile(shares, (10, 90), axis=0)
    levels = np.arange(256)
    if len(shares) > 1:
        axes.fill_between(
            levels, np.maximum(low, _LEAST), np.maximum(high, _LEAST), color=pale(colour), linewidth=0,
            label="10th to 90th percentile",
        )  # fmt: skip
    axes.plot(levels, _visible(shares.mean(axis=0)), color=colour, linewidth=1.1, label="mean")


def _visible(mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean without what lies below the axis, which would otherwise run along its foot."""
    return np.where(mean >= _LEAST, mean, np.nan)


def _shares(histograms: NDArray[np.integer]) -> NDArray[np.float64]:
    """(n, 256) shares of each image's pixels, each row of sum 1."""
    return np.asarray(histograms / np.maximum(histograms.sum(axis=1, keepdims=True), 1), dtype=np.float64)
