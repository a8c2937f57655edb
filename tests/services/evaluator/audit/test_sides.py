"""Which images an audit compares."""

from typing import Any

import pytest

from services.evaluator.audit.sides import choose_size, refuse_usefulness, select_sides, warn_of_sides
from services.evaluator.metrics.samples import TooFewImages
from services.evaluator.metrics.selection import Images, NoSuchImages


def images(tumour_class: str, n: int, split: str | None = None, size_px: int = 64) -> Images:
    entry: dict[str, Any] = {"class": tumour_class, "split": split, "width": size_px, "height": size_px}
    return [{**entry, "name": f"{split}/{tumour_class}/{row}"} for row in range(n)]


REAL = [
    *images("notumor", 6, "Training"),
    *images("notumor", 5, "Testing"),
    *images("glioma", 7, "Training"),
    *images("glioma", 4, "Testing"),
]
SYNTHETIC = [*images("notumor", 8), *images("glioma", 9)]


def test_each_class_has_its_three_sides_in_the_platforms_order() -> None:
    sides = select_sides(SYNTHETIC, REAL, tumour_class=None, split="Training")
    counts = {name: (len(s.synthetic), len(s.reference), len(s.baseline)) for name, s in sides.items()}
    assert counts == {"glioma": (9, 7, 0), "notumor": (8, 6, 5)}  # four Testing gliomas are no baseline
    assert list(counts) == ["glioma", "notumor"]
    assert sides["notumor"].n_images == 19
    (caution,) = warn_of_sides(sides, "Training", has_splits=True)
    warning = caution.sentence
    assert "fewer than 5 Testing images of glioma" in warning


def test_the_other_split_may_be_the_reference() -> None:
    sides = select_sides(SYNTHETIC, REAL, tumour_class="notumor", split="Testing")
    assert [image["split"] for image in sides["notumor"].reference] == ["Testing"] * 5
    assert len(sides["notumor"].baseline) == 6


def test_without_splits_all_real_images_are_the_reference() -> None:
    real = [{**image, "split": None} for image in REAL]
    sides = select_sides(SYNTHETIC, real, tumour_class="glioma", split="Training")
    assert (len(sides["glioma"].reference), len(sides["glioma"].baseline)) == (11, 0)
    (caution,) = warn_of_sides(sides, "Training", has_splits=False)
    warning = caution.sentence
    assert "no splits" in warning


def test_what_is_missing_is_named() -> None:
    with pytest.raises(NoSuchImages, match="The synthetic set has no pituitary images"):
        select_sides(SYNTHETIC, REAL, tumour_class="pituitary", split="Training")
    with pytest.raises(NoSuchImages, match="The real set has no meningioma Training images"):
        select_sides([*SYNTHETIC, *images("meningioma", 5)], REAL, tumour_class=None, split="Training")
    with pytest.raises(TooFewImages, match="4 glioma Testing images"):
        select_sides(SYNTHETIC, REAL, tumour_class="glioma", split="Testing")
    with pytest.raises(TooFewImages, match="synthetic set has 4 glioma images"):
        select_sides(images("glioma", 4), REAL, tumour_class=None, split="Training")


def test_usefulness_wants_two_classes_and_images_to_test_on() -> None:
    both = select_sides(SYNTHETIC, REAL, tumour_class=None, split="Training")
    assert "no other split of glioma" in str(refuse_usefulness(both))
    assert "two classes" in str(refuse_usefulness({"notumor": both["notumor"]}))
    assert refuse_usefulness({"notumor": both["notumor"], "again": both["notumor"]}) is None


def test_all_images_are_brought_to_the_references_commonest_size() -> None:
    real = [*images("glioma", 5, "Training", 64), *images("glioma", 6, "Testing", 32)]
    sides = select_sides(images("glioma", 9, size_px=128), real, tumour_class=None, split="Training")
    size_px, (caution,) = choose_size(sides)
    warning = caution.sentence
    assert size_px == (64, 64)
    assert "15 of 20 images were resized to 64 x 64 px" in warning
    same = select_sides(images("glioma", 9), images("glioma", 5), tumour_class=None, split="Training")
    assert choose_size(same) == ((64, 64), [])
