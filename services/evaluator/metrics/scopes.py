"""The scores of all images together and of each class by itself, from features that were taken once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.evaluator.features.extraction import ImageFeatures
from services.evaluator.metrics.assessment import Floor, Metric, assess, measurable
from services.evaluator.metrics.floors import FloorPlan, plan_floor
from services.evaluator.metrics.selection import Caution, Images, Selection, SplitChoice, class_shares
from shared.progress import Progress
from shared.tumour import CLASS_ORDER

MIN_OF_CLASS = 2
"""Fewest images of a class on a side for scores of that class."""

RowsInt = NDArray[np.int64]
"""Rows of one side's features."""


@dataclass(frozen=True)
class Sides:
    """The features of one evaluation's three lists of images, row by row as `Selection` lists them.

    Attributes:
        synthetic: of `selection.synthetic`.
        real: of `selection.real`.
        other_real: of `selection.other_real`; None where that is empty.
    """

    synthetic: ImageFeatures
    real: ImageFeatures
    other_real: ImageFeatures | None

    def of_class(self, selection: Selection, tumour_class: str) -> "Sides":
        """The rows of one class."""
        synthetic, real, other = (
            _rows(images, tumour_class) for images in (selection.synthetic, selection.real, selection.other_real)
        )
        kept = take_rows(self.other_real, other) if self.other_real is not None and len(other) > 1 else None
        return Sides(take_rows(self.synthetic, synthetic), take_rows(self.real, real), kept)


def class_selections(selection: Selection) -> tuple[list[Selection], list[Caution]]:
    """The selection cut to each class in turn; empty where it is of one class anyway.

    Returns:
        the selections of the classes that have enough images on both sides, and cautions on those that have not.
    """
    present = [name for name in CLASS_ORDER if any(image["class"] == name for image in selection.synthetic)]
    if selection.tumour_class is not None or len(present) < 2:
        return [], []
    cut, cautions = [], []
    for tumour_class in present:
        synthetic, real, other = (
            [image for image in images if image["class"] == tumour_class]
            for images in (selection.synthetic, selection.real, selection.other_real)
        )
        if min(len(synthetic), len(real)) < MIN_OF_CLASS:
            sentence = (
                f"{tumour_class} has {len(synthetic)} synthetic and {len(real)} real images, too few for scores of "
                "its own."
            )
            cautions.append(Caution("class_left_out", sentence))
            continue
        other = other if len(other) > 1 else []
        cut.append(replace(selection, tumour_class=str(tumour_class), synthetic=synthetic, real=real, other_real=other))
    return cut, cautions


def mix_cautions(selection: Selection) -> list[Caution]:
    """Whether the two sides hold the classes in other shares, which scores over all classes take for a difference."""
    shares = [class_shares(images) for images in (selection.synthetic, selection.real)]
    name = max(CLASS_ORDER, key=lambda candidate: abs(shares[0][candidate] - shares[1][candidate]))
    if abs(shares[0][name] - shares[1][name]) < 0.05:
        return []
    sentence = (
        f"The classes are mixed differently: {name} is {shares[0][name]:.0%} of the synthetic and "
        f"{shares[1][name]:.0%} of the real images. Scores over all classes count that as a difference; those of each "
        "class do not."
    )
    return [Caution("class_mix_differs", sentence)]


def measure_scope(
    selection: Selection,
    sides: Sides,
    *,
    split: SplitChoice,
    seen: bool,
    metrics: Sequence[Metric] | None,
    feature_space: str,
    seed: int,
    progress: Progress,
) -> tuple[dict[str, Any], FloorPlan | None]:
    """One table of scores: class, numbers, floor and one entry per metric, as the report has them.

    Args:
        selection: the images.
        sides: their features.
        split: the reference's split, as it was asked for.
        seen: whether the features come from a network that was trained on the real images.
        metrics: which scores; None for all that the numbers of images allow.
        feature_space: "inception", "classifier" or "radiomics".
        seed: of every random draw.
        progress: asked whether to go on.
    """
    plan = plan_floor(selection, split, seed, seen=seen)
    n_synthetic, n_real = len(selection.synthetic), len(selection.real)
    entries = assess(
        sides.synthetic,
        sides.real,
        take_floor(plan, sides),
        metrics=measurable(metrics, n_synthetic, n_real, feature_space),
        feature_space=feature_space,
        seed=seed,
        progress=progress,
    )
    table = {
        "class": selection.tumour_class,
        "n_synthetic": n_synthetic,
        "n_real": n_real,
        "n_other_real": len(selection.other_real),
        "floor": plan and {"what": plan.what, "n": [len(plan.first), len(plan.second)]},
        "metrics": entries,
    }
    return table, plan


def metrics_of_class(metrics: Sequence[Metric] | None, selection: Selection, feature_space: str) -> list[Metric]:
    """The scores asked for that a class has images enough for: a small class does not stop the others."""
    allowed = measurable(None, len(selection.synthetic), len(selection.real), feature_space)
    return [metric for metric in metrics or allowed if metric in allowed]


def take_floor(plan: FloorPlan | None, sides: Sides) -> Floor | None:
    """The features of the plan's images."""
    if plan is None:
        return None
    everything = sides.real
    if sides.other_real is not None:
        pairs = (sides.real, sides.other_real)
        everything = ImageFeatures(
            np.concatenate([side.features for side in pairs]), np.concatenate([side.probabilities for side in pairs])
        )
    first, second = (take_rows(everything, np.asarray(rows)) for rows in (plan.first, plan.second))
    return Floor(first, second, plan.what)


def take_rows(images: ImageFeatures, rows: RowsInt) -> ImageFeatures:
    """The features of some of the images."""
    return ImageFeatures(images.features[rows], images.probabilities[rows])


def _rows(images: Images, tumour_class: str) -> RowsInt:
    return np.array([row for row, image in enumerate(images) if image["class"] == tumour_class], dtype=np.int64)
