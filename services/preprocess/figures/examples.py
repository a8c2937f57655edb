"""Figures 3 and 6: examples of each class and plane, and the steps of the preparation on one image of each class."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from services.preprocess.analysis import UNKNOWN
from services.preprocess.bias_field import remove_bias_field
from services.preprocess.figures.style import (
    FONT_PT,
    INK,
    WIDTH_IN,
    fit_longest,
    in_order,
    new_figure,
    shorten,
    show_image,
)
from services.preprocess.findings import Example, Pictures
from services.preprocess.geometry import mirror, rotate
from services.preprocess.intensity import cumulative_shares, equalise_adaptively, match_levels
from services.preprocess.recipe import Recipe
from services.preprocess.steps import Clahe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Pixels = NDArray[np.uint8]
_ASIDE = "*"
_MOST_PX = 1024
"""Steps are shown at native size up to this; N4 on a 50-megapixel slice would take minutes and gigabytes."""


def one_of_each_class(examples: Sequence[Example], *, turned: bool = False) -> list[Example]:
    """The first example of each class, in the order of the classes; one that was turned, if wanted and there is one."""
    first: dict[str, Example] = {}
    for example in sorted(examples, key=lambda example: turned and not _is_turned(example)):
        first.setdefault(example.tumour_class, example)
    return [first[name] for name in in_order(first)]


def draw_examples(examples: Sequence[Example]) -> "Figure":
    """A grid: a row for each class, a column for each plane, images as uploaded; gaps say that there is none."""
    classes, planes = in_order(e.tumour_class for e in examples), in_order(e.plane for e in examples)
    cells = {(example.tumour_class, example.plane or UNKNOWN): example for example in reversed(examples)}
    # One plane leaves room to set the classes side by side.
    turned = len(planes) == 1
    rows, columns = (planes, classes) if turned else (classes, planes)
    cell_in = min(2.2, (WIDTH_IN - 0.6) / len(columns))
    figure = new_figure((cell_in + 0.25) * len(rows) + 0.2, 0.6 + (cell_in + 0.05) * len(columns))
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            example = cells.get((column, row) if turned else (row, column))
            show_image(grid[i, j], example.raw_u8 if example else None, column if i == 0 else "")
            _note(grid[i, j], _describe(example, int(cell_in * 15)) if example else "", empty=example is None)
        _name_row(grid[i, 0], "plane unknown" if turned and row == UNKNOWN else row)
    return figure


def _describe(example: Example, most: int) -> str:
    height, width = example.raw_u8.shape
    return f"{shorten(example.name.rsplit('/', 1)[-1], most - 10)}, {width} × {height}"


def _note(axes: "Axes", text: str, *, empty: bool) -> None:
    if empty:
        axes.text(0.5, 0.5, "no image", ha="center", va="center", fontsize=FONT_PT, color="#8C8C8C")
    axes.set_xlabel(text, fontsize=FONT_PT, color=INK, labelpad=2)


def _name_row(axes: "Axes", name: str) -> None:
    axes.set_ylabel(name, fontsize=FONT_PT, fontweight="bold", color=INK)


def draw_steps(pictures: Pictures, recipe: Recipe) -> "Figure":
    """A row for each class: the image as uploaded, after each step at native size, and as prepared.

    Args:
        pictures: examples, and levels that make a reference for matching where the recipe has none.
        recipe: its settings are used; steps it does not have are shown with default settings and an asterisk.
    """
    examples = one_of_each_class(pictures.examples, turned=True)
    turned = any(_is_turned(example) for example in examples)
    rows = [_steps(example, pictures, recipe, turned=turned) for example in examples]
    columns = list(rows[0])
    cell_in = (WIDTH_IN - 0.4) / max(len(columns), 4)
    figure = new_figure((cell_in + 0.22) * len(rows) + 0.25, 0.4 + cell_in * len(columns))
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    for i, (example, steps) in enumerate(zip(examples, rows, strict=True)):
        for j, (name, pixels_u8) in enumerate(steps.items()):
            show_image(grid[i, j], pixels_u8, name if i == 0 else "")
            if j in (0, len(steps) - 1):
                height, width = (example.raw_u8 if j == 0 else pixels_u8).shape
                grid[i, j].set_xlabel(f"{width} × {height}", fontsize=FONT_PT, color=INK, labelpad=2)
            elif name == "turned":
                grid[i, j].set_xlabel(_say_turn(example), fontsize=FONT_PT, color=INK, labelpad=2)
        _name_row(grid[i, 0], example.tumour_class)
    return figure


def _steps(example: Example, pictures: Pictures, recipe: Recipe, *, turned: bool) -> dict[str, Pixels]:
    """The image after each step, by the step's name; the steps build on one another in the recipe's order."""
    current = fit_longest(example.raw_u8, _MOST_PX)
    images = {"as uploaded": current}
    if turned:
        current = images["turned"] = _turn(current, example.parameters)
    work: list[tuple[str, bool, Callable[[Pixels], Pixels]]] = []
    if recipe.bias_field is not None:
        field = recipe.bias_field
        work.append(("N4", True, lambda pixels: remove_bias_field(pixels, field.shrink, field.iterations)))
    clahe = recipe.clahe or Clahe()
    work.append(
        ("CLAHE", recipe.clahe is not None, lambda pixels: equalise_adaptively(pixels, clahe.clip_limit, clahe.tile))
    )
    reference = _reference(example.tumour_class, pictures.levels_before, recipe)
    if reference is not None:
        in_recipe = recipe.histogram_matching is not None
        work.append(("histogram-matched", in_recipe, lambda pixels: match_levels(pixels, reference)))
    for name, in_recipe, step in work:
        current = images[name if in_recipe else name + _ASIDE] = step(current)
    return images | {"prepared": example.prepared_u8}


def _reference(
    tumour_class: str, levels: Mapping[str, NDArray[np.integer]], recipe: Recipe
) -> NDArray[np.float64] | None:
    """(256,) cumulative shares that the recipe matched this class to, else the mean of the class as uploaded."""
    matching = recipe.histogram_matching
    if matching is not None and matching.references:
        chosen = tumour_class if matching.reference == "by_class" else "pooled"
        if found := matching.references.get(chosen, matching.references.get("pooled")):
            return np.array(found)
    known = [histograms for histograms in levels.values() if len(histograms)]
    if not known:
        return None
    # A class without a Training image is matched to all of them, as `prepare_pixels` does.
    own = levels.get(tumour_class)
    return cumulative_shares(own if own is not None and len(own) else np.concatenate(known))


def _is_turned(example: Example) -> bool:
    return any(example.parameters.get(key) for key in ("rotation_deg", "flip_horizontal", "flip_vertical"))


def _turn(pixels_u8: Pixels, drawn: Mapping[str, Any]) -> Pixels:
    pixels_u8 = rotate(pixels_u8, drawn["rotation_deg"]) if drawn.get("rotation_deg") else pixels_u8
    horizontal, vertical = bool(drawn.get("flip_horizontal")), bool(drawn.get("flip_vertical"))
    return mirror(pixels_u8, horizontal=horizontal, vertical=vertical)


def _say_turn(example: Example) -> str:
    drawn = example.parameters
    parts = [f"{drawn.get('rotation_deg', 0):+d}°".replace("-", "−").replace("+0", "0")]
    if drawn.get("flip_horizontal") or drawn.get("flip_vertical"):
        parts.append("mirrored")
    return ", ".join(parts)
