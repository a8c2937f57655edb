"""The stage of a preprocessing job that draws the report's figures."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.preprocess.analysis import UNKNOWN
from services.preprocess.draws import draw_subset
from services.preprocess.duplicates import Copies, find_label_conflicts
from services.preprocess.figures.drawing import draw_figures
from services.preprocess.findings import Example, MatchPicture, Pictures
from services.preprocess.intensity import count_levels
from services.preprocess.outcome import Outcome, read_outcome
from services.preprocess.report import build_report
from services.preprocess.sources import get_result, read_blob
from shared.jobs.runner import Execution
from shared.tumour import Split

_N_LEVELS = 100
_N_LEAKS = 10
_N_CONFLICTS = 6
_Pixels = Callable[[str], NDArray[np.uint8]]


def illustrate_shard(execution: Execution) -> dict[str, Any]:
    """Draw and store the figures of one kind; their hashes by file name."""
    outcome = read_outcome(execution)
    kinds = (execution.spec["figures"],)
    pictures = _gather_pictures(execution, outcome, with_images="grids" in kinds)
    drawn = draw_figures(outcome.findings, build_report(outcome.findings), pictures, kinds)
    return {"figures": {file: execution.objects.put_blob(data) for file, data in drawn.items()}}


def _gather_pictures(execution: Execution, outcome: Outcome, *, with_images: bool) -> Pictures:
    """The few images that the figures show."""
    findings, images = outcome.findings, outcome.images
    sha256 = {image["name"]: image["sha256"] for image in execution.artifacts.manifest(outcome.raw)["images"]}

    def pixels(name: str) -> NDArray[np.uint8]:
        return read_blob(execution, sha256[name]).pixels_u8

    levels = get_result(execution, "levels")
    drawn = names_for_levels(
        [(image["source"], image["class"], image["split"]) for image in images], findings.recipe.seed
    )
    before = {name: np.array([levels[source] for source in sources]) for name, sources in drawn.items()}
    if not with_images:
        return Pictures([], [], [], before, _levels_after(execution, images, drawn))
    leaks = [
        MatchPicture(
            f"{leak.testing} | {leak.training}",
            pixels(leak.testing),
            pixels(leak.training),
            leak.mirror,
        )
        for leak in _spread(sorted(findings.leaks, key=lambda leak: (leak.mirror, -(leak.correlation or 0))), _N_LEAKS)
    ]
    return Pictures(_examples(execution, images, pixels), leaks, _conflicts(findings.copies, pixels), before, {})


def names_for_levels(images: Iterable[tuple[str, str | None, str | None]], seed: int) -> dict[str, list[str]]:
    """By class, the images whose gray levels are shown.

    Args:
        images: name, class and split of each image that is kept; those of Testing are not shown.
        seed: the recipe's.
    """
    members: dict[str, list[str]] = {}
    for name, tumour_class, split in images:
        if split != Split.TESTING:
            members.setdefault(tumour_class or UNKNOWN, []).append(name)
    return {
        tumour_class: sorted(draw_subset(names, _N_LEVELS, seed, "levels"))
        for tumour_class, names in sorted(members.items())
    }


def _levels_after(
    execution: Execution, images: Sequence[dict[str, Any]], drawn: dict[str, list[str]]
) -> dict[str, NDArray[np.integer]]:
    """(n, 256) pixels at each gray level of the prepared images, by class."""
    sha256 = {image["source"]: image["sha256"] for image in images}
    after: dict[str, NDArray[np.integer]] = {}
    for tumour_class, names in drawn.items():
        after[tumour_class] = np.stack([count_levels(read_blob(execution, sha256[name]).pixels_u8) for name in names])
        execution.progress.raise_if_cancelled()
    return after


def _spread(items: Sequence[Any], n: int) -> list[Any]:
    """Up to `n` of the items, evenly from first to last."""
    n = min(n, len(items))
    return [items[index * (len(items) - 1) // max(n - 1, 1)] for index in range(n)]


def _examples(execution: Execution, images: Sequence[dict[str, Any]], pixels: _Pixels) -> list[Example]:
    """The most surely recognised image of each class and plane."""
    chosen: dict[tuple[str, str], dict[str, Any]] = {}
    for image in images:
        key = (image["class"] or UNKNOWN, image["plane"] or UNKNOWN)
        if key not in chosen or (image["plane_confidence"] or 0) > (chosen[key]["plane_confidence"] or 0):
            chosen[key] = image
    return [
        Example(
            name=image["source"],
            tumour_class=tumour_class,
            plane=image["plane"],
            raw_u8=pixels(image["source"]),
            prepared_u8=read_blob(execution, image["sha256"]).pixels_u8,
            parameters=image["parameters"],
        )
        for (tumour_class, _), image in sorted(chosen.items())
    ]


def _conflicts(copies: Copies, pixels: _Pixels) -> list[MatchPicture]:
    """Copies with different classes, two of each group."""
    shown = []
    positions = {image.name: k for k, image in enumerate(copies.images)}
    for names in find_label_conflicts(copies, exact=False)[:_N_CONFLICTS]:
        first = names[0]
        other = next(
            name
            for name in names
            if copies.images[positions[name]].tumour_class != copies.images[positions[first]].tumour_class
        )
        both = {int(copies.exact[positions[name]]) for name in (first, other)}
        ends = ((pair.mirror, {int(copies.exact[k]) for k in (pair.first, pair.second)}) for pair in copies.pairs)
        mirror = next((mirror for mirror, numbers in ends if numbers == both), "none")
        shown.append(MatchPicture(f"{first} | {other}", pixels(first), pixels(other), mirror))
    return shown
