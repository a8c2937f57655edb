"""Which real images are compared with which for the floor, and when its reader is warned."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from services.evaluator.metrics.floors import (
    MIN_UNSEEN,
    FloorPlan,
    leaked_floor_cautions,
    plan_floor,
    seen_caution,
    small_floor_cautions,
)
from services.evaluator.metrics.frechet import frechet_distance
from services.evaluator.metrics.selection import Selection, SplitChoice, select_images

CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
HALVES = "one half of the real images against the other"


def images(tumour_class: str, n: int, split: str | None = None) -> list[dict[str, Any]]:
    return [{"name": f"{split}/{tumour_class}/{i}", "class": tumour_class, "split": split} for i in range(n)]


def of_classes(numbers: tuple[int, ...], split: str | None = None) -> list[dict[str, Any]]:
    return [image for name, n in zip(CLASSES, numbers, strict=True) for image in images(name, n, split)]


def gliomas(n_training: int, n_testing: int, split: SplitChoice = "Training", n_synthetic: int = 2) -> Selection:
    real = images("glioma", n_training, "Training") + images("glioma", n_testing, "Testing")
    return select_images(images("glioma", n_synthetic), real, tumour_class="glioma", split=split)


def plan(selection: Selection, split: SplitChoice = "Training", *, seen: bool = False) -> FloorPlan:
    found = plan_floor(selection, split, 0, seen=seen)
    assert found is not None
    return found


def test_without_splits_the_images_are_halved() -> None:
    found = plan(select_images(images("glioma", 2), images("glioma", 6), tumour_class=None, split="Training"))
    assert sorted(found.first + found.second) == list(range(6))
    assert (found.what, found.of_splits) == (HALVES, False)


@pytest.mark.parametrize(("split", "other", "n"), [("Training", "Testing", 30), ("Testing", "Training", 20)])
def test_the_floor_compares_the_splits_where_the_features_know_neither(split: SplitChoice, other: str, n: int) -> None:
    found = plan(gliomas(30, MIN_UNSEEN, split), split)
    assert found.second == list(range(n))
    assert found.first == list(range(n, 50))
    assert (found.what, found.of_splits) == (f"real {other} against real {split}", True)


@pytest.mark.parametrize(("n_training", "n_testing"), [(30, MIN_UNSEEN - 1), (MIN_UNSEEN - 1, 30), (200, 2)])
def test_a_split_of_few_images_gives_no_floor(n_training: int, n_testing: int) -> None:
    found = plan(gliomas(n_training, n_testing))
    assert (found.what, found.of_splits) == (HALVES, False)
    assert sorted(found.first + found.second) == list(range(n_training))


@pytest.mark.parametrize(
    ("training", "testing", "of_splits"),
    [
        pytest.param((867, 802, 817, 721), (299, 207, 218, 300), True, id="the study's"),
        pytest.param((1100, 900, 404, 936), (190, 13, 1, 68), False, id="after a strict preprocessing"),
        pytest.param((100, 100, 0, 0), (39, 61, 0, 0), False, id="just beyond the tolerance"),
        pytest.param((100, 100, 0, 0), (41, 59, 0, 0), True, id="just within the tolerance"),
    ],
)
def test_a_split_of_another_mix_of_classes_gives_no_floor(
    training: tuple[int, ...], testing: tuple[int, ...], of_splits: bool
) -> None:
    real = of_classes(training, "Training") + of_classes(testing, "Testing")
    selection = select_images(of_classes((9, 9, 9, 9)), real, tumour_class=None, split="Training")
    found = plan(selection)
    assert found.of_splits is of_splits
    if not of_splits:
        assert sorted(found.first + found.second) == list(range(sum(training)))


def test_the_floor_lies_no_further_away_than_a_perfect_generator() -> None:
    # Classes a unit apart in each of eight features, and synthetic images drawn as the real ones are.
    rng = np.random.default_rng(0)
    centres = dict(zip(CLASSES, rng.normal(size=(4, 8)), strict=True))
    real = of_classes((300, 270, 120, 280), "Training") + of_classes((190, 13, 1, 68), "Testing")
    selection = select_images(of_classes((300, 270, 120, 280)), real, tumour_class=None, split="Training")
    synthetic, *sides = (
        np.array([centres[image["class"]] + rng.normal(size=8) for image in some])
        for some in (selection.synthetic, selection.real, selection.other_real)
    )
    everything, found = np.concatenate(sides), plan(selection)
    perfect = frechet_distance(synthetic, sides[0])
    # The halves have half as many images, and the bias of the distance goes with 1 / n.
    assert frechet_distance(everything[found.first], everything[found.second]) < 3 * perfect
    assert frechet_distance(sides[1], sides[0]) > 3 * perfect


@pytest.mark.parametrize("split", ["Training", "Testing", "all"])
def test_features_that_know_the_training_images_get_their_floor_from_testing_images(split: SplitChoice) -> None:
    selection = gliomas(30, MIN_UNSEEN + 1, split)
    found = plan(selection, split, seen=True)
    everything = [*selection.real, *selection.other_real]
    assert {everything[row]["split"] for row in found.first + found.second} == {"Testing"}
    assert len(set(found.first + found.second)) == MIN_UNSEEN + 1
    assert abs(len(found.first) - len(found.second)) <= 1
    assert found.what == "one half of the real Testing images against the other"
    assert found.what in seen_caution("mdl-1", found).sentence


def test_with_too_few_testing_images_the_reference_is_halved() -> None:
    found = plan(gliomas(30, MIN_UNSEEN - 1), seen=True)
    assert sorted(found.first + found.second) == list(range(30))
    assert found.what == HALVES
    assert plan_floor(gliomas(3, 0), "Training", 0, seen=True) is None
    assert "left out" in seen_caution("mdl-1", None).sentence


def test_no_floor_where_there_are_too_few() -> None:
    selection = select_images(images("glioma", 2), images("glioma", 3), tumour_class=None, split="all")
    assert plan_floor(selection, "all", 0, seen=False) is None


def test_a_floor_is_named_whose_bias_is_a_quarter_larger_than_that_of_the_scores_beside_it() -> None:
    # The bias goes with 1/n1 + 1/n2: 1/20 + 1/30 is 1.25 times 1/30 + 1/30.
    found = plan(gliomas(30, 20))
    floors = {"all images": (found, 31, 30), "glioma": (found, 29, 30), "notumor": (None, 99, 99)}
    (caution,) = small_floor_cautions(floors)
    assert caution.code == "floor_of_fewer_images"
    assert "20 against 30 images beside 31 synthetic against 30 real ones (all images)." in caution.sentence
    assert "the floor is too high" in caution.sentence
    assert small_floor_cautions({"all images": (found, 29, 30)}) == []


def test_halves_of_the_reference_are_fewer_images_than_the_reference() -> None:
    real = images("glioma", 200)
    halves = plan(select_images(images("glioma", 200), real, tumour_class="glioma", split="all"), "all")
    assert (len(halves.first), len(halves.second)) == (100, 100)
    (caution,) = small_floor_cautions({"glioma": (halves, 200, 200)})
    assert "100 against 100 images beside 200 synthetic against 200 real ones (glioma)" in caution.sentence
    # 1/80 + 1/200 is seven eighths of 1/100 + 1/100.
    assert small_floor_cautions({"glioma": (halves, 80, 200)}) == []


def test_leaks_are_named_where_the_floor_compares_the_splits() -> None:
    splits, halves = plan(gliomas(30, 20)), plan(gliomas(30, 2))
    (caution,) = leaked_floor_cautions(512, [halves, splits], None)
    assert caution.code == "known_leakage_in_floor"
    assert "512 Testing images of the real set occur in its Training images" in caution.sentence
    assert leaked_floor_cautions(512, [halves, replace(splits, of_splits=False), None], None) == []
    assert leaked_floor_cautions(0, [splits], None) == []
    (of_class,) = leaked_floor_cautions(512, [splits], "glioma")
    assert "512 Testing images of the whole real set, not of glioma alone, occur" in of_class.sentence


def test_that_nobody_has_looked_for_leaks_is_said_where_the_floor_compares_the_splits() -> None:
    splits, halves = plan(gliomas(30, 20)), plan(gliomas(30, 2))
    (caution,) = leaked_floor_cautions(None, [halves, splits], "glioma")
    assert caution.code == "floor_leakage_unchecked"
    assert "never checked" in caution.sentence
    assert leaked_floor_cautions(None, [halves, None], "glioma") == []
