"""Figure 1: images by class, split and plane, as uploaded and as kept."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from services.preprocess.analysis import UNKNOWN, Counts
from services.preprocess.figures.style import (
    FONT_PT,
    INK,
    NEUTRAL,
    class_colour,
    dress,
    in_order,
    new_figure,
    pale,
    plane_colour,
    thousands,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROOM = 1.55
"""The counts beside a bar need about half of the longest bar."""


def draw_counts(report: Mapping[str, Any]) -> "Figure":
    """Bars by class, one panel for each split; below them the planes, where any is known.

    Args:
        report: as `build_report` gives it.
    """
    before: Counts = report["counts"]
    planes: Mapping[str, Counts] = report["planes"]["counts"]
    splits = in_order(before) or [UNKNOWN]
    classes = in_order(name for row in before.values() for name in row)
    known = any(plane != UNKNOWN for split in planes.values() for row in split.values() for plane in row)
    height_in = 0.9 + 0.34 * max(len(classes), 1)
    figure = new_figure(height_in * (2.2 if known else 1) + 0.25 * known)
    ratios = [1.0, 1.25] if known else [1.0]
    grid = figure.subplots(len(ratios), len(splits), squeeze=False, height_ratios=ratios)
    for column, split in enumerate(splits):
        first = column == 0
        dress(grid[0, column], title=_title(split, before), xlabel="images")
        _draw_classes(grid[0, column], classes, before.get(split, {}), report["kept"].get(split, {}), named=first)
        if known:
            kept = report["kept_planes"].get(split, {})
            dress(grid[1, column], title=f"{_name(split)}, by plane", xlabel="images")
            _draw_planes(grid[1, column], classes, planes.get(split, {}), kept, named=first)
    _add_legend(figure, in_order(p for s in planes.values() for row in s.values() for p in row) if known else [])
    return figure


def _title(split: str, counts: Counts) -> str:
    return f"{_name(split)} (n = {sum(counts.get(split, {}).values()):,})"


def _name(split: str) -> str:
    return "no split" if split == UNKNOWN else split


def _draw_classes(
    axes: "Axes", classes: list[str], before: Mapping[str, int], after: Mapping[str, int], *, named: bool
) -> None:
    for row, name in enumerate(classes):
        n_before, n_after = before.get(name, 0), after.get(name, 0)
        axes.barh(row, n_before, height=0.7, color=pale(class_colour(name)))
        axes.barh(row, n_after, height=0.7, color=class_colour(name))
        axes.annotate(
            f"{n_after:,} of {n_before:,}", (n_before, row), (3, 0), textcoords="offset points", va="center",
            fontsize=FONT_PT, color=INK,
        )  # fmt: skip
    _name_rows(axes, classes, named=named)
    _limit(axes, max([*before.values(), 1]), _ROOM)


def _draw_planes(axes: "Axes", classes: list[str], before: Counts, after: Counts, *, named: bool) -> None:
    """Two bars for each class, stacked by plane: uploaded above, kept below."""
    for row, name in enumerate(classes):
        for offset, counts, faded in ((-0.2, before.get(name, {}), True), (0.2, after.get(name, {}), False)):
            left = 0
            for plane in in_order(counts):
                colour = plane_colour(plane)
                axes.barh(row + offset, counts[plane], left=left, height=0.36, color=pale(colour) if faded else colour)
                left += counts[plane]
    _name_rows(axes, classes, named=named)
    _limit(axes, max([sum(row.values()) for row in before.values()] + [1]), 1.05)


def _limit(axes: "Axes", longest: int, room: float) -> None:
    """Ticks as far as the longest bar, and room beyond it."""
    axes.set_xlim(0, longest)
    axes.set_xticks([tick for tick in axes.get_xticks() if tick <= longest])
    axes.set_xlim(0, room * longest)


def _name_rows(axes: "Axes", classes: list[str], *, named: bool) -> None:
    axes.set_yticks(range(len(classes)), classes if named else [""] * len(classes))
    axes.set_ylim(len(classes) - 0.4, -0.6)
    thousands(axes.xaxis)
    axes.tick_params(axis="y", length=0)


def _add_legend(figure: "Figure", planes: list[str]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=pale(NEUTRAL), label="uploaded"), Patch(color="#595959", label="kept")]
    handles += [Patch(color=plane_colour(plane), label=plane) for plane in planes]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=FONT_PT, frameon=False)
