"""Which images are compared, and what is said about it."""

from typing import Any

import pytest

from services.evaluator.metrics.samples import TooFewImages
from services.evaluator.metrics.selection import (
    MIN_UNSEEN,
    NoSuchImages,
    SplitChoice,
    plan_floor,
    seen_caution,
    select_images,
    size_cautions,
)


def images(tumour_class: str, n: int, split: str | None = None) -> list[dict[str, Any]]:
    return [{"name": f"{split}/{tumour_class}/{i}", "class": tumour_class, "split": split} for i in range(n)]


REAL = images("glioma", 5, "Training") + images("glioma", 3, "Testing") + images("notumor", 4, "Training")


def test_a_set_of_one_class_meets_its_class_only() -> None:
    selection = select_images(images("glioma", 2), REAL, tumour_class=None, split="Training")
    assert selection.tumour_class == "glioma"
    assert {image["class"] for image in selection.real} == {"glioma"}
    assert (len(selection.real), len(selection.other_real), selection.n_images) == (5, 3, 10)
    assert selection.cautions[0].code == "cut_to_class"


def test_several_classes_meet_all() -> None:
    both = images("glioma", 2) + images("notumor", 2)
    selection = select_images(both, REAL, tumour_class=None, split="Training")
    assert (selection.tumour_class, len(selection.real)) == (None, 9)
    cut = select_images(both, REAL, tumour_class="notumor", split="Training")
    assert (len(cut.synthetic), len(cut.real), cut.cautions) == (2, 4, [])


@pytest.mark.parametrize(("split", "n_real", "n_other"), [("Training", 5, 3), ("Testing", 3, 5), ("all", 8, 0)])
def test_the_other_split_gives_the_floor(split: SplitChoice, n_real: int, n_other: int) -> None:
    selection = select_images(images("glioma", 2), REAL, tumour_class="glioma", split=split)
    assert (len(selection.real), len(selection.other_real)) == (n_real, n_other)


def test_without_splits_all_images_are_used_and_halved() -> None:
    selection = select_images(images("glioma", 2), images("glioma", 6), tumour_class=None, split="Training")
    assert selection.cautions[0].code == "no_splits"
    plan = plan_floor(selection, "Training", 0, seen=False)
    assert plan is not None
    assert sorted(plan.first + plan.second) == list(range(6))
    assert plan.what == "one half of the real images against the other"


@pytest.mark.parametrize(("split", "other"), [("Training", "Testing"), ("Testing", "Training")])
def test_the_floor_compares_the_splits_where_the_features_know_neither(split: SplitChoice, other: str) -> None:
    selection = select_images(images("glioma", 2), REAL, tumour_class="glioma", split=split)
    plan = plan_floor(selection, split, 0, seen=False)
    assert plan is not None
    assert plan.second == list(range(len(selection.real)))
    assert plan.first == list(range(len(selection.real), 8))
    assert plan.what == f"real {other} against real {split}"


@pytest.mark.parametrize("split", ["Training", "Testing", "all"])
def test_features_that_know_the_training_images_get_their_floor_from_testing_images(split: SplitChoice) -> None:
    real = images("glioma", 30, "Training") + images("glioma", MIN_UNSEEN + 1, "Testing")
    selection = select_images(images("glioma", 2), real, tumour_class="glioma", split=split)
    plan = plan_floor(selection, split, 0, seen=True)
    assert plan is not None
    everything = [*selection.real, *selection.other_real]
    assert {everything[row]["split"] for row in plan.first + plan.second} == {"Testing"}
    assert len(set(plan.first + plan.second)) == MIN_UNSEEN + 1
    assert abs(len(plan.first) - len(plan.second)) <= 1
    assert plan.what == "one half of the real Testing images against the other"
    assert plan.what in seen_caution("mdl-1", plan).sentence


def test_with_too_few_testing_images_the_reference_is_halved() -> None:
    real = images("glioma", 30, "Training") + images("glioma", MIN_UNSEEN - 1, "Testing")
    selection = select_images(images("glioma", 2), real, tumour_class="glioma", split="Training")
    plan = plan_floor(selection, "Training", 0, seen=True)
    assert plan is not None
    assert sorted(plan.first + plan.second) == list(range(30))
    assert plan.what == "one half of the real images against the other"
    few = select_images(images("glioma", 2), real[:3], tumour_class="glioma", split="Training")
    assert plan_floor(few, "Training", 0, seen=True) is None
    assert "left out" in seen_caution("mdl-1", None).sentence


def test_no_floor_where_there_are_too_few() -> None:
    selection = select_images(images("glioma", 2), images("glioma", 3), tumour_class=None, split="all")
    assert plan_floor(selection, "all", 0, seen=False) is None


def test_unequal_numbers_and_sizes_are_said() -> None:
    selection = select_images(images("glioma", 2), REAL, tumour_class="glioma", split="Training")
    first, second = size_cautions(selection, 4, (64, 64))
    assert (first.code, second.code) == ("numbers_differ", "sizes_resized")
    assert "2 synthetic, 5 real" in first.sentence
    assert "4 of 10 images were resized to 64 x 64 px" in second.sentence
    same = select_images(images("glioma", 5), REAL, tumour_class="glioma", split="Training")
    assert size_cautions(same, 0, (64, 64)) == []


def test_refusals_say_what_there_is() -> None:
    with pytest.raises(NoSuchImages, match="synthetic set has no pituitary images; it has the classes glioma"):
        select_images(images("glioma", 2), REAL, tumour_class="pituitary", split="Training")
    with pytest.raises(NoSuchImages, match="real set has no notumor Testing images"):
        select_images(
            images("notumor", 2), [*REAL, *images("notumor", 1, "x")], tumour_class="notumor", split="Testing"
        )
    with pytest.raises(TooFewImages, match="synthetic set has one glioma image"):
        select_images(images("glioma", 1), REAL, tumour_class="glioma", split="Training")
    with pytest.raises(NoSuchImages):
        select_images([], REAL, tumour_class=None, split="all")
