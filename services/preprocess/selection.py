"""Which images stay: every drop has a name and a reason, decided from measurements alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from services.preprocess.analysis import Measurement
from services.preprocess.duplicates import find_duplicates, find_leaks
from services.preprocess.geometry import passes_study_filter
from services.preprocess.recipe import Recipe


@dataclass(frozen=True)
class Drop:
    """An image that is not in the result, the reason in one word, and the fact behind it."""

    name: str
    reason: str
    detail: str


def passes_size_rule(width: int, height: int, tumour_class: str | None, recipe: Recipe) -> bool:
    """Whether the recipe's size rule keeps an image of this native size, in pixels."""
    return recipe.size_rule != "study_square" or passes_study_filter(width, height, tumour_class)


def select_drops(images: Sequence[Measurement], recipe: Recipe) -> list[Drop]:
    """Images to leave out, in the order given, each with its first reason: duplicates before size, as in study 2.1."""
    drops: dict[str, Drop] = {}
    hashed = [image.hashed() for image in images]
    if recipe.duplicates != "none":
        for group in find_duplicates(hashed):
            for name in group.removed:
                drops[name] = Drop(name, "duplicate", f"The same pixels as {group.kept}.")
    if recipe.duplicates == "across_splits":
        for leak in find_leaks(hashed):
            drops.setdefault(leak.testing, Drop(leak.testing, "in_training", f"The same pixels as {leak.training}."))
    for image in images:
        if not passes_size_rule(image.width, image.height, image.tumour_class, recipe):
            detail = f"{image.width} x {image.height} pixels; the recipe keeps square images only."
            drops.setdefault(image.name, Drop(image.name, "not_square", detail))
    return [drops[image.name] for image in images if image.name in drops]


def name_results(names: Sequence[str], extension: str) -> dict[str, str]:
    """New name of each image: its path with the new ending, kept distinct.

    `a.jpg` and `a.bmp` of one folder become `a_jpg.png` and `a_bmp.png`.

    Args:
        names: distinct names in the raw set, such as `Training/glioma/Tr-gl_0001.jpg`.
        extension: ending of the new files, with its dot.
    """
    wanted = Counter(_stem(name) for name in names)
    taken = {stem for stem, n in wanted.items() if n == 1}
    renamed: dict[str, str] = {}
    for name in names:
        stem = _stem(name)
        if wanted[stem] > 1:
            stem = f"{stem}_{PurePosixPath(name).suffix.lstrip('.') or 'file'}"
            while stem in taken:
                stem += "_"
            taken.add(stem)
        renamed[name] = stem + extension
    return renamed


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))
