"""Figures 9 and 10: two images of one scan side by side, and what is left between them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from services.preprocess.figures.style import FONT_PT, INK, WIDTH_IN, fit_longest, new_figure, shorten, show_image
from services.preprocess.findings import MatchPicture
from services.preprocess.geometry import mirror
from services.preprocess.near_duplicates import make_thumbnail

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAIN = 8
"""The difference is shown so many times as bright: what a JPEG changes is a few levels."""
_MIRRORS = {"none": (False, False), "left-right": (True, False), "top-bottom": (False, True), "half-turn": (True, True)}
_ACROSS = 2
_BETWEEN = " | "
_GAP = 0.12


def draw_matches(
    matches: Sequence[MatchPicture], kinds: tuple[str, str], classes: Mapping[str, str] | None = None
) -> "Figure":
    """Pairs, two of them beside each other: the first image, the second turned to match, and the absolute difference.

    Args:
        matches: the pairs; a title `name | name` or `name | name: remark` is set above the two images it names.
        kinds: what the first and the second images are, for example Testing and Training.
        classes: by name, the class of an image; where one is given it stands in place of the kind.
    """
    n_across = min(_ACROSS, len(matches))
    n_rows = -(-len(matches) // n_across)
    cell_in = WIDTH_IN / (3 * _ACROSS + _GAP)
    figure = new_figure((cell_in + 0.47) * n_rows + 0.1, cell_in * (3 * n_across + _GAP * (n_across - 1)))
    # A narrow empty column keeps the pairs apart.
    columns = [0, 1, 2, 4, 5, 6][: 3 * n_across]
    grid = figure.add_gridspec(n_rows, columns[-1] + 1, width_ratios=[1, 1, 1, _GAP, 1, 1, 1][: columns[-1] + 1])
    for k, match in enumerate(matches):
        row, first = k // n_across, 3 * (k % n_across)
        panels = [figure.add_subplot(grid[row, column]) for column in columns[first : first + 3]]
        left, right = fit_longest(match.first_u8), align(match)
        images = (left, right, cv2.convertScaleAbs(cv2.absdiff(left, right), alpha=GAIN))
        for axes, pixels_u8, title in zip(panels, images, _titles(match.title, kinds, classes or {}), strict=True):
            show_image(axes, np.asarray(pixels_u8, dtype=np.uint8), title, bold=False)
        panels[1].set_xlabel(_describe(match), fontsize=FONT_PT, color=INK, labelpad=2)
    return figure


def align(match: MatchPicture) -> NDArray[np.uint8]:
    """(H, W) uint8: the second image turned to match the first, at the size at which the first is shown."""
    horizontal, vertical = _MIRRORS[match.mirror]
    height, width = fit_longest(match.first_u8).shape
    turned = mirror(match.second_u8, horizontal=horizontal, vertical=vertical)
    shrinks = turned.shape[0] > height or turned.shape[1] > width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(turned, (width, height), interpolation=method), dtype=np.uint8)


def correlate(match: MatchPicture) -> float:
    """The correlation of the two thumbnails as the search for near-duplicates compares them; 0 without contrast."""
    horizontal, vertical = _MIRRORS[match.mirror]
    first = make_thumbnail(match.first_u8).astype(np.float64)
    second = make_thumbnail(mirror(match.second_u8, horizontal=horizontal, vertical=vertical)).astype(np.float64)
    first, second = first - first.mean(), second - second.mean()
    length = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float((first * second).sum()) / length if length > 0 else 0.0


def _titles(title: str, kinds: tuple[str, str], classes: Mapping[str, str]) -> tuple[str, str, str]:
    first, _, second = title.partition(_BETWEEN)
    second = second.split(": ")[0]  # what follows is said below the images
    above = [
        f"{classes.get(name, kind)}\n{shorten(name.rsplit('/', 1)[-1], 17)}"
        for kind, name in zip(kinds, (first, second), strict=True)
    ]
    return above[0], above[1], f"difference\n× {GAIN}"


def _describe(match: MatchPicture) -> str:
    if match.first_u8.shape == match.second_u8.shape and bool((match.first_u8 == match.second_u8).all()):
        return "equal pixels"
    turned = {"none": "not mirrored", "half-turn": "turned by 180°"}.get(match.mirror, f"mirrored {match.mirror}")
    return f"r = {correlate(match):.4f}, {turned}"
