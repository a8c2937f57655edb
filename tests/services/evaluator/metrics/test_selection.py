"""Which images are compared, and what is said about it."""

from typing import Any

import pytest

from services.evaluator.metrics.samples import TooFewImages
from services.evaluator.metrics.selection import (
    NoSuchImages,
    SplitChoice,
    count_leaks,
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
def test_the_other_split_is_kept_for_the_floor(split: SplitChoice, n_real: int, n_other: int) -> None:
    selection = select_images(images("glioma", 2), REAL, tumour_class="glioma", split=split)
    assert (len(selection.real), len(selection.other_real)) == (n_real, n_other)


def test_without_splits_all_images_are_used() -> None:
    selection = select_images(images("glioma", 2), images("glioma", 6), tumour_class=None, split="Training")
    assert selection.cautions[0].code == "no_splits"
    assert (len(selection.real), selection.other_real) == (6, [])


def test_unequal_numbers_and_sizes_are_said() -> None:
    selection = select_images(images("glioma", 2), REAL, tumour_class="glioma", split="Training")
    first, second = size_cautions(selection, 4, (64, 64))
    assert (first.code, second.code) == ("numbers_differ", "sizes_resized")
    assert "2 synthetic, 5 real" in first.sentence
    assert "4 of 10 images were resized to 64 x 64 px" in second.sentence
    same = select_images(images("glioma", 5), REAL, tumour_class="glioma", split="Training")
    assert size_cautions(same, 0, (64, 64)) == []


@pytest.mark.parametrize(
    ("manifest", "n"),
    [
        ({}, None),
        ({"leakage": None}, None),
        ({"leakage": {"checked": False, "kept": 0}}, None),
        ({"leakage": {"checked": True}}, 0),
        ({"leakage": {"kept": 3}}, 3),
    ],
)
def test_leaks_are_read_from_manifests_of_every_age(manifest: dict[str, Any], n: int | None) -> None:
    assert count_leaks(manifest) == n


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
