"""Figures 2 and 8: native sizes, and sharpness."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from services.preprocess.analysis import BLUR_VARIANCE, UNKNOWN, Measurement
from services.preprocess.figures.style import FONT_PT, INK, class_colour, dress, in_order, new_figure, pale, thousands

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_N_SIZES = 4
_SIZE_COLOURS = ("#08519C", "#3182BD", "#6BAED6", "#BDD7E7")  # one hue, dark to light: also in gray print
_REST = "#E6E6E6"
_LARGEST_PT2 = 260.0
_MOST_VECTORS = 2000
"""More circles than this would bloat the PDF; they are pixels there, and all else stays vectors."""


def draw_sizes(images: Sequence[Measurement]) -> "Figure":
    """Width and height of each class as circles, and the share of the commonest sizes in each class."""
    classes = in_order(image.tumour_class for image in images)
    splits = in_order(image.split for image in images)
    bars = [(split, name) for split in splits for name in classes]
    bars = [
        bar for bar in bars if any((image.split or UNKNOWN, image.tumour_class or UNKNOWN) == bar for image in images)
    ]
    figure = new_figure(2.1 + 0.7 + 0.2 * len(bars))
    halves = figure.subfigures(2, 1, squeeze=False, height_ratios=[2.1, 0.7 + 0.2 * len(bars)])
    above, below = halves[:, 0]
    n_panels = max(4, len(classes))
    panels = above.subplots(1, n_panels + 1, squeeze=False, width_ratios=[1] * n_panels + [0.35])[0]
    sides = [side for image in images for side in (image.width, image.height)]
    limits = min(90.0, 0.8 * min(sides)), max(1300.0, 1.25 * max(sides))
    most = max(Counter((image.tumour_class, image.width, image.height) for image in images).values())
    for axes, name in zip(panels, classes, strict=False):
        members = [image for image in images if (image.tumour_class or UNKNOWN) == name]
        dress(axes, title=name, xlabel="width, px")
        axes.annotate(
            f"n = {len(members):,}", (0, 1), (4, -2), xycoords="axes fraction", textcoords="offset points", va="top",
            fontsize=FONT_PT, color=INK, bbox={"color": "white", "alpha": 0.7, "pad": 0.5, "linewidth": 0},
        )  # fmt: skip
        axes.tick_params(labelleft=axes is panels[0])
        _draw_circles(axes, members, class_colour(name), limits, most)
    panels[0].set_ylabel("height, px", fontsize=FONT_PT, color=INK)
    _explain_circles(panels[-1], most)
    for axes in panels[len(classes) :]:
        axes.set_axis_off()
    _draw_shares(below.subplots(), images, bars)
    return figure


def _draw_circles(
    axes: "Axes", members: Sequence[Measurement], colour: str, limits: tuple[float, float], most: int
) -> None:
    from matplotlib.ticker import FixedLocator, NullFormatter, StrMethodFormatter

    sizes = Counter((image.width, image.height) for image in members)
    ordered = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    areas = [_area(n, most) for _, n in ordered]
    axes.plot(limits, limits, color=INK, linewidth=0.6, linestyle=(0, (4, 3)), zorder=1)
    axes.scatter(
        [width for (width, _), _ in ordered], [height for (_, height), _ in ordered], s=areas, color=pale(colour),
        edgecolors=colour, linewidths=0.6, zorder=2, rasterized=len(ordered) > _MOST_VECTORS,
    )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlim=limits, ylim=limits)
    axes.set_aspect("equal")
    steps = (30, 100, 300, 1000, 3000, 10000) if limits[1] < 30 * limits[0] else (10, 100, 1000, 10000)
    ticks = [tick for tick in steps if limits[0] <= tick <= limits[1]]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axis.set_minor_formatter(NullFormatter())


def _area(n: int, most: int) -> float:
    """The area of a circle for n images, square points; a single image is still seen."""
    return max(4.0, _LARGEST_PT2 * n / most)


def _explain_circles(axes: "Axes", most: int) -> None:
    """Circles for 1, 100, 1,000 images, as far as there are so many."""
    steps = [n for n in (1, 100, 1000, 10_000, 100_000) if n <= most][-3:]
    for n in steps:
        axes.scatter([], [], s=_area(n, most), color="white", edgecolors=INK, linewidths=0.6, label=f"{n:,}")
    axes.legend(
        loc="center left", fontsize=FONT_PT, frameon=False, handletextpad=0.3, labelspacing=0.55, borderpad=0.1,
        title="images", title_fontsize=FONT_PT,
    )  # fmt: skip


def _draw_shares(axes: "Axes", images: Sequence[Measurement], bars: Sequence[tuple[str, str]]) -> None:
    totals = Counter((image.width, image.height) for image in images)
    sizes = sorted(totals, key=lambda size: (-totals[size], size))[:_N_SIZES]
    for row, (split, name) in enumerate(bars):
        members = [
            image for image in images if (image.split or UNKNOWN, image.tumour_class or UNKNOWN) == (split, name)
        ]
        left = 0.0
        for size, colour in zip(sizes, _SIZE_COLOURS, strict=False):
            share = 100 * sum((image.width, image.height) == size for image in members) / len(members)
            axes.barh(
                row, share, left=left, height=0.75, color=colour, label=f"{size[0]} × {size[1]}" if row == 0 else None
            )
            left += share
        axes.barh(row, 100 - left, left=left, height=0.75, color=_REST, label="other sizes" if row == 0 else None)
    dress(axes, xlabel="share of images, %")
    alone = {split for split, _ in bars} == {UNKNOWN}
    names = [name if alone else f"{'no split' if split == UNKNOWN else split}, {name}" for split, name in bars]
    axes.set_yticks(range(len(bars)), names)
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=FONT_PT, frameon=False)


def draw_sharpness(images: Sequence[Measurement]) -> "Figure":
    """Histograms of the Laplacian variance by class on one logarithmic axis; the blurry part is dark."""
    classes = in_order(image.tumour_class for image in images)
    figure = new_figure(0.6 + 0.95 * len(classes))
    panels = figure.subplots(len(classes), 1, sharex=True, squeeze=False)[:, 0]
    values = np.maximum([image.sharpness for image in images], 1.0)  # constant images have 0 and go into the first bin
    top = max(1000.0, float(values.max()))
    # Twenty bins for each factor of ten, of which one begins at the limit.
    low = np.floor(20 * np.log10(min(float(values.min()), 10.0) / BLUR_VARIANCE))
    edges = BLUR_VARIANCE * 10 ** (np.arange(low, np.ceil(20 * np.log10(top / BLUR_VARIANCE)) + 2) / 20)
    for axes, name in zip(panels, classes, strict=True):
        members = [image for image in images if (image.tumour_class or UNKNOWN) == name]
        counts, _ = np.histogram(np.maximum([image.sharpness for image in members], 1.0), edges)
        blurry = edges[:-1] < BLUR_VARIANCE * 0.999
        for part, colour in ((blurry, class_colour(name)), (~blurry, pale(class_colour(name)))):
            axes.stairs(np.where(part, counts, 0), edges, fill=True, color=colour)
        axes.axvline(BLUR_VARIANCE, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        n = sum(image.is_blurry for image in members)
        dress(axes, title=name, ylabel="images")
        text = f"blurry: {n:,} of {len(members):,} ({100 * n / len(members):.1f} %)"
        axes.set_title(text, fontsize=FONT_PT, loc="right", color=INK)
        axes.set_xscale("log")
        thousands(axes.yaxis)
    panels[-1].set_xlabel("variance of the Laplacian, squared gray levels", fontsize=FONT_PT, color=INK)
    figure.align_ylabels(list(panels))
    return figure
