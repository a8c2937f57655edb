"""The plan: which images of a set are prepared, in which order, and what is done to each; made before any is."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.preprocess.analysis import Measurement
from services.preprocess.draws import NO_DRAW, Draw, draw_for_image, draw_subset, stream_for
from services.preprocess.duplicates import Copies
from services.preprocess.intensity import cumulative_shares
from services.preprocess.pipeline import POOLED
from services.preprocess.recipe import Recipe
from services.preprocess.selection import Drop, Selection, balance_classes
from services.preprocess.study import draw_as_study
from shared.errors import InvalidInput
from shared.tumour import Split


class NoReference(InvalidInput):
    """There is no image to match histograms to."""


@dataclass(frozen=True)
class Planned:
    """An image that stays, and what was drawn for it."""

    image: Measurement
    draw: Draw


@dataclass(frozen=True)
class Plan:
    """The images that stay, in the order of the result, and those that do not."""

    kept: list[Planned]
    drops: list[Drop]


def make_plan(images: Sequence[Measurement], copies: Copies, recipe: Recipe, excluded: Collection[str] = ()) -> Plan:
    """The plan that the recipe's rules and draws give.

    Args:
        images: the readable images in the order of the raw set, with their planes and groups.
        copies: their copies, by the recipe's idea of a copy.
        recipe: what to do.
        excluded: names that the caller wants left out.

    Raises:
        LabelConflict: equal images bear different classes, and the recipe refuses that.
    """
    selection = Selection(images, copies, recipe)
    selection.apply_rules(excluded)

    def draw_names(names: Sequence[str], n: int) -> Collection[str]:
        return draw_subset(names, n, recipe.seed, "balance")

    for name, detail in balance_classes(selection.kept, recipe, draw_names).items():
        selection.drop(name, "not_drawn", detail)
    if recipe.draws == "study":
        return _plan_as_study(images, selection, recipe)
    for name, detail in _reduce(selection.kept, recipe).items():
        selection.drop(name, "not_drawn", detail)
    kept = [Planned(image, draw_for_image(image.name, image.split, recipe)) for image in selection.kept]
    return Plan(kept, selection.drops)


def follow_record(images: Sequence[Measurement], recorded: Mapping[str, Draw]) -> Plan:
    """The plan that a record gives: exactly its images, in its order, with what was drawn for them.

    Args:
        images: the readable images.
        recorded: by name, what was drawn; names that are not among the images are left out.
    """
    by_name = {image.name: image for image in images}
    kept = [Planned(by_name[name], draw) for name, draw in recorded.items() if name in by_name]
    drops = [
        Drop(name, "not_selected", "The given selection does not have it.") for name in by_name if name not in recorded
    ]
    return Plan(kept, drops)


def references_for(
    plan: Plan, histograms: Mapping[str, NDArray[np.integer]], recipe: Recipe
) -> dict[str, tuple[float, ...]] | None:
    """The references for histogram matching, by class and pooled, from Training images of the plan, if it matches.

    Args:
        plan: the images that stay.
        histograms: by name, (256,) pixels at each gray level of the image as uploaded.
        recipe: says how many images are drawn for each reference, and the seed.
    """
    matching = recipe.histogram_matching
    if matching is None:
        return None
    names: dict[str, list[str]] = defaultdict(list)
    for planned in plan.kept:
        if planned.image.split != Split.TESTING:
            names[planned.image.tumour_class or "unknown"].append(planned.image.name)
            names[POOLED].append(planned.image.name)
    if not names:
        raise NoReference("Histogram matching needs images of Training to match to, and none stays in the set.")
    references = {}
    for key, members in names.items():
        drawn = sorted(draw_subset(members, matching.n_images, recipe.seed, f"matching/{key}"))
        shares = cumulative_shares(np.stack([histograms[name] for name in drawn]))
        references[key] = tuple(round(float(share), 12) for share in shares)
    return references


def _reduce(images: Sequence[Measurement], recipe: Recipe) -> dict[str, str]:
    """Names that a random reduction leaves out, each with the sentence why."""
    if recipe.reduction is None:
        return {}
    dropped: dict[str, str] = {}
    for tumour_class in recipe.reduction.classes:
        names = [image.name for image in images if image.tumour_class == tumour_class and image.split != Split.TESTING]
        n = stream_for(recipe.seed, "reduction", tumour_class).randint(recipe.reduction.least, recipe.reduction.most)
        chosen = draw_subset(names, n, recipe.seed, "reduction")
        dropped |= {name: _sentence(n, len(names), tumour_class) for name in names if name not in chosen}
    return dropped


def _plan_as_study(images: Sequence[Measurement], selection: Selection, recipe: Recipe) -> Plan:
    """The study's reduction and rotation, in its order; an image without a split counts as Training."""
    by_name = {image.name: image for image in selection.kept}
    training: dict[str, list[str]] = defaultdict(list)
    testing: list[str] = []
    for image in by_name.values():
        (testing if image.split == Split.TESTING else training[image.tumour_class or "unknown"]).append(image.name)
    n_training = sum(image.split != Split.TESTING for image in images)
    order, angles = draw_as_study(training, testing, n_training, recipe)
    drawn = set(order)
    sizes = Counter(by_name[name].tumour_class or "unknown" for name in order if by_name[name].split != Split.TESTING)
    for tumour_class, names in training.items():
        for name in names:
            if name not in drawn:
                selection.drop(name, "not_drawn", _sentence(sizes[tumour_class], len(names), tumour_class))
    flips = {name: draw_for_image(name, by_name[name].split, recipe) if recipe.flips else NO_DRAW for name in order}
    kept = [
        Planned(by_name[name], Draw(angles.get(name, 0), flips[name].flip_horizontal, flips[name].flip_vertical))
        for name in order
    ]
    return Plan(kept, selection.drops)


def _sentence(n: int, of: int, tumour_class: str) -> str:
    return f"{n} of {of} {tumour_class} images were drawn."
