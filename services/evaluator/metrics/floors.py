"""The floor: which real images are compared with which, and what a reader of it must be warned of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.evaluator.metrics.confidence import split_halves
from services.evaluator.metrics.selection import Caution, Selection, SplitChoice, class_shares
from shared.tumour import CLASS_ORDER, Split

MIN_UNSEEN = 20
"""Fewest images of a split that are compared with the other split, and fewest Testing images that are halved: below
that, a distance tells of chance alone."""

BIAS_TOLERANCE = 1.25
"""By how much the bias of a floor's distance may exceed that of the distance it stands beside without a warning."""

SHARE_TOLERANCE = 0.1
"""Largest difference of a class's share between two splits that are compared. Classes lie far apart in every feature
space, so that splits of different mix differ by their mix; the study's own splits differ by up to 0.07 of a class."""


@dataclass(frozen=True)
class FloorPlan:
    """Which real images are compared with which for the floor.

    Attributes:
        first: rows of `selection.real` followed by `selection.other_real`; they take the synthetic images' place.
        second: rows of the same list; they take the real images' place.
        what: both in words.
        of_splits: whether the two are the splits, and not two halves of one sample.
    """

    first: list[int]
    second: list[int]
    what: str
    of_splits: bool


def plan_floor(selection: Selection, split: SplitChoice, seed: int, *, seen: bool) -> FloorPlan | None:
    """Two samples of real images: the other split against this one, or else two random halves of one sample.

    A split of few images, or of another mix of classes, lies further from this one than a perfect generator's images
    would: then the reference is halved.

    A network holds the images it was trained on closer together than new ones, so where it has seen the Training
    images, Training against Testing would measure that and not the images. Then the Testing images are halved, or the
    reference where they are fewer than `MIN_UNSEEN`.

    Args:
        selection: the images of the evaluation.
        split: the reference's split, as it was asked for.
        seed: of the halves.
        seen: whether the features come from a network that was trained on images of the real set.

    Returns:
        None where fewer than four images would have to be halved.
    """
    everything = [*selection.real, *selection.other_real]
    n_real = len(selection.real)
    if not seen and _splits_are_alike(selection):
        other = Split.TESTING if split == "Training" else Split.TRAINING
        first, second = list(range(n_real, len(everything))), list(range(n_real))
        return FloorPlan(first, second, f"real {other} against real {split}", of_splits=True)
    rows, whose = list(range(n_real)), "real"
    testing = [row for row, image in enumerate(everything) if image.get("split") == Split.TESTING]
    if seen and len(testing) >= MIN_UNSEEN:
        rows, whose = testing, "real Testing"
    if len(rows) < 4:
        return None
    halves = [[rows[index] for index in half] for half in split_halves(len(rows), seed)]
    return FloorPlan(halves[0], halves[1], f"one half of the {whose} images against the other", of_splits=False)


def _splits_are_alike(selection: Selection) -> bool:
    """Whether both splits have images enough, and the classes in about equal shares."""
    sides = (selection.real, selection.other_real)
    if min(len(images) for images in sides) < MIN_UNSEEN:
        return False
    shares, others = (class_shares(images) for images in sides)
    return all(abs(shares[name] - others[name]) < SHARE_TOLERANCE for name in CLASS_ORDER)


def seen_caution(model_id: str | None, floor: FloorPlan | None) -> Caution:
    """For a reader of scores whose features come from a network that was trained on the real images."""
    return Caution(
        "classifier_trained_on_these",
        f"The classifier {model_id} was trained on images of this real set: it holds those closer together than images "
        "it has not seen, so scores against Training images are biased and a floor of Training against Testing would "
        f"be too high. The floor here is {floor.what if floor else 'left out, for want of images'}. Prefer "
        "split=Testing, features=inception, or a classifier trained on other images.",
    )


def small_floor_cautions(floors: Mapping[str, tuple[FloorPlan | None, int, int]]) -> list[Caution]:
    """Floors of so few images that their distances are biased more than those of the synthetic images.

    The bias of a Fréchet distance goes with 1/n1 + 1/n2 of its two sides (Chong and Forsyth 2020, arXiv:1911.07023,
    for one side).

    Args:
        floors: by table, "all images" or a class: the plan of its floor, and its numbers of synthetic and real images.
    """
    small = []
    for name, (plan, n_synthetic, n_real) in floors.items():
        if plan is None:
            continue
        n_first, n_second = len(plan.first), len(plan.second)
        if 1 / n_first + 1 / n_second > BIAS_TOLERANCE * (1 / n_synthetic + 1 / n_real):
            compared = f"{n_synthetic} synthetic against {n_real} real ones"
            small.append(f"{n_first} against {n_second} images beside {compared} ({name})")
    if not small:
        return []
    sentence = (
        f"The floor has fewer images than the scores it stands beside: {', '.join(small)}. With fewer images distances "
        "come out higher, all but the kernel distance, as 1/n1 + 1/n2 does of the images on both sides, so the floor "
        "is too high: a set below it need not be good."
    )
    return [Caution("floor_of_fewer_images", sentence)]


def leaked_floor_cautions(
    n_leaks: int | None, floors: Iterable[FloorPlan | None], tumour_class: str | None
) -> list[Caution]:
    """Images that lie on both sides of a floor, or may.

    Args:
        n_leaks: Testing images of the real set that occur in its Training images; None where nobody has looked.
        floors: the plans of all tables.
        tumour_class: the class that the evaluation was cut to; the leaks are counted in the whole set.
    """
    if n_leaks == 0 or not any(plan is not None and plan.of_splits for plan in floors):
        return []
    if n_leaks is None:
        sentence = (
            "The real set was never checked for Testing images that occur in its Training images, and the floor "
            "compares the two: if there are any, it is lower than between images that are all different. Preprocess "
            "the set, or again the raw set it was made from; that looks for them."
        )
        return [Caution("floor_leakage_unchecked", sentence)]
    whose = f"the whole real set, not of {tumour_class} alone," if tumour_class else "the real set"
    sentence = (
        f"{n_leaks} Testing images of {whose} occur in its Training images, and the floor compares the two: it is "
        "lower than between images that are all different, and no generator need reach it."
    )
    return [Caution("known_leakage_in_floor", sentence)]
