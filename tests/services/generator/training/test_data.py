import random
from collections import Counter
from typing import Any

import numpy as np
import pytest

from services.generator.images import TooFewImages, decode_gray, encode_png, pass_through_jpeg, prepare_image
from services.generator.models.preset import Preset
from services.generator.models.presets import RIGOROUS, STUDY
from services.generator.training.data import balance_planes, plan_training, split_groups, split_patients
from shared.tumour import CLASS_ORDER, TumourClass
from tests.services.generator.micro import MICRO, draw_images

GLIOMA, NOTUMOR = TumourClass.GLIOMA, TumourClass.NOTUMOR
# Study 3.1 names the totals and the rarest plane of each class; the other planes only need to be larger.
STUDY_PLANES = {
    "glioma": {"axial": 330, "coronal": 305, "sagittal": 232},
    "meningioma": {"axial": 233, "coronal": 290, "sagittal": 279},
    "pituitary": {"axial": 223, "coronal": 240, "sagittal": 258},
    "notumor": {"axial": 757, "sagittal": 60},
}


def records(tumour_class: str, planes: dict[str | None, int], seed: int = 0) -> list[dict[str, Any]]:
    images = [{"class": tumour_class, "plane": plane} for plane, n in planes.items() for _ in range(n)]
    random.Random(seed).shuffle(images)
    return images


def study_set() -> list[dict[str, Any]]:
    return [image for name, planes in STUDY_PLANES.items() for image in records(name, planes)]


@pytest.mark.parametrize(
    ("tumour_class", "balanced", "n_training", "n_held_out", "updates_per_epoch"),
    [
        ("glioma", 696, 555, 141, 35),
        ("meningioma", 699, 558, 141, 35),
        ("pituitary", 669, 534, 135, 34),
        ("notumor", 817, 653, 164, 41),
    ],
)
def test_the_studys_counts_are_reproduced(
    tumour_class: str, balanced: int, n_training: int, n_held_out: int, updates_per_epoch: int
) -> None:
    plan = plan_training(study_set(), [TumourClass(tumour_class)], STUDY, seed=33)
    assert (len(plan.training), len(plan.held_out)) == (n_training, n_held_out)
    assert n_training + n_held_out == balanced
    assert STUDY.count_updates(n_training) == 750 * updates_per_epoch
    assert not set(plan.training) & set(plan.held_out)
    images = study_set()
    for part, share in ((plan.training, 0.8), (plan.held_out, 0.2)):
        planes = Counter(images[i]["plane"] for i in part)
        if tumour_class != "notumor":
            assert len(set(planes.values())) == 1  # the same number of each plane
            assert planes["axial"] == pytest.approx(share * balanced / 3, abs=1)


def test_balancing_keeps_the_first_of_each_plane() -> None:
    assert balance_planes(["axial", "axial", None, "coronal", "axial", "coronal", "axial"]) == [0, 1, 3, 5]
    assert balance_planes([None, None]) == [0, 1]
    assert balance_planes(["axial"] * 3) == [0, 1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_a_balanced_selection_is_even_and_in_order(seed: int) -> None:
    rng = random.Random(seed)
    planes = rng.choices(["axial", "coronal", "sagittal"], [5, 2, 1], k=200)
    kept = balance_planes(planes)
    assert kept == sorted(kept)
    counts = Counter(planes)
    assert set(Counter(planes[i] for i in kept).values()) == {min(counts.values())}
    for plane in counts:  # no kept image comes after one that was left out
        own = [i for i, name in enumerate(planes) if name == plane]
        assert [i for i in own if i in set(kept)] == own[: min(counts.values())]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.2, 0.43, 0.5])
def test_a_split_takes_each_image_once_and_keeps_the_share_in_every_group(share: float) -> None:
    groups = ["a"] * 100 + ["b"] * 37 + [None] * 10
    training, held_out = split_groups(groups, share, seed=3)
    assert sorted(training + held_out) == list(range(147))
    n_training = Counter(groups[i] for i in training)
    # floor((1 - share) n), where (1 - 0.43) * 100 is 57 and not the 56.99... of binary numbers
    expected = {"a": round(100 * (1 - share)), "b": int(37 * (1 - share)), None: int(10 * (1 - share) + 1e-9)}
    assert n_training == expected
    assert split_groups(groups, share, seed=3) == (training, held_out)
    if share:
        assert split_groups(groups, share, seed=4) != (training, held_out)


def test_a_group_of_one_is_trained_on() -> None:
    assert split_groups(["a", "b", "b", "b"], 0.2, seed=0)[0][0] == 0


def patients_of(images: list[dict[str, Any]], sizes: list[int], seed: int) -> list[dict[str, Any]]:
    """`images`, four in five of patients with so many images each, whatever class and plane; the rest of none."""
    rng = random.Random(seed)
    names: list[str | None] = [None] * (len(images) // 5)
    while len(names) < len(images):
        names += [f"patient {len(names)}"] * rng.choice(sizes)
    order = rng.sample(range(len(images)), len(images))
    named = dict(zip(order, names, strict=False))
    return [{**image, "group": named[i]} for i, image in enumerate(images)]


@pytest.mark.parametrize("sizes", [[1, 2, 3], [3, 8, 20]])
@pytest.mark.parametrize("preset", [STUDY, RIGOROUS])
def test_no_patient_is_on_both_sides_and_the_shares_are_kept(preset: Preset, sizes: list[int]) -> None:
    plain = study_set()
    images = patients_of(plain, sizes, seed=len(sizes))
    alone, plan = (plan_training(each, CLASS_ORDER, preset, seed=3) for each in (plain, images))
    assert sorted(plan.training + plan.held_out) == sorted(alone.training + alone.held_out)
    sides = [{images[i]["group"] for i in side} - {None} for side in (plan.training, plan.held_out)]
    assert all(sides)
    assert not sides[0] & sides[1]
    for tumour_class in CLASS_ORDER:
        n, wanted = (sum(images[i]["class"] == tumour_class for i in each.held_out) for each in (plan, alone))
        assert n == pytest.approx(wanted, abs=max(sizes) / 2)
    assert plan == plan_training(images, CLASS_ORDER, preset, seed=3)
    assert plan.held_out != plan_training(images, CLASS_ORDER, preset, seed=4).held_out


def test_images_without_a_patient_are_split_as_ever() -> None:
    images = [{**image, "group": None} for image in study_set()]
    assert plan_training(images, CLASS_ORDER, STUDY, seed=33) == plan_training(study_set(), CLASS_ORDER, STUDY, seed=33)


def test_patients_of_one_size_are_held_out_by_share() -> None:
    strata = [(GLIOMA, "axial")] * 100
    training, held_out = split_patients(strata, [f"patient {i // 5}" for i in range(100)], 0.2, seed=0)
    assert (len(training), len(held_out)) == (80, 20)


def test_a_class_of_one_patient_is_all_trained_on_and_that_is_said() -> None:
    images = [{**image, "group": "one"} for image in records("glioma", {"axial": 300})]
    plan = plan_training(images, [GLIOMA], RIGOROUS, seed=0)
    assert (len(plan.training), plan.held_out) == (300, [])
    assert [warning.code for warning in plan.warnings] == ["none_held_out"]


def test_without_balancing_every_plane_is_held_out_alike() -> None:
    plan = plan_training(study_set(), [NOTUMOR], RIGOROUS, seed=0)
    planes = Counter(study_set()[i]["plane"] for i in plan.held_out)
    assert planes == {"axial": 757 - 681, "sagittal": 6}


def test_what_is_odd_about_the_images_is_named() -> None:
    def codes(images: list[dict[str, Any]], preset: Any = RIGOROUS) -> list[str]:
        return [warning.code for warning in plan_training(images, [GLIOMA], preset, seed=0).warnings]

    assert codes(records("glioma", {"axial": 200, "coronal": 200})) == []
    assert codes(records("glioma", {"axial": 400, "coronal": 40})) == ["planes_unbalanced"]
    assert codes(records("glioma", {"axial": 400, "coronal": 40}), STUDY) == ["planes_unbalanced", "few_images"]
    assert codes(records("glioma", {"axial": 400, None: 1})) == ["planes_unknown"]
    assert codes(records("glioma", {None: 400}), STUDY) == ["planes_unknown"]
    assert codes(records("glioma", {"axial": 100})) == ["few_images"]
    detail = (
        plan_training(records("glioma", {"axial": 400, "coronal": 40}), [GLIOMA], RIGOROUS, seed=0).warnings[0].detail
    )
    assert detail.startswith("Only 40 of 440 glioma images are coronal")


def test_a_class_with_too_few_images_is_named() -> None:
    images = [*records("glioma", {"axial": 300}), *records("notumor", {"axial": 5})]
    with pytest.raises(TooFewImages, match="the notumor images number 5"):
        plan_training(images, [GLIOMA, NOTUMOR], MICRO, seed=0)
    with pytest.raises(TooFewImages, match="the glioma images to train on, after balancing and holding out, number 6"):
        plan_training(records("glioma", {"axial": 300, "coronal": 4}), [GLIOMA], STUDY, seed=0)


def test_several_classes_are_planned_as_each_alone() -> None:
    images = study_set()
    together = plan_training(images, CLASS_ORDER, STUDY, seed=5)
    alone = [plan_training(images, [tumour_class], STUDY, seed=5) for tumour_class in CLASS_ORDER]
    assert together.training == [i for plan in alone for i in plan.training]
    assert together.held_out == [i for plan in alone for i in plan.held_out]


def test_images_are_resized_then_compressed_then_transposed() -> None:
    image_u8 = draw_images(1, 64)[0]
    preset = MICRO.replace({"jpeg_quality": 60, "transpose": True, "size_px": 32, "resize": "area"})
    plain = prepare_image(image_u8, preset.replace({"jpeg_quality": None, "transpose": False}))
    assert plain.shape == (32, 32)
    expected = pass_through_jpeg(plain, 60)
    assert 0 < np.abs(expected.astype(int) - plain).max() < 60
    np.testing.assert_array_equal(prepare_image(image_u8, preset), expected.T)
    np.testing.assert_array_equal(
        prepare_image(decode_gray(encode_png(image_u8)), MICRO), prepare_image(image_u8, MICRO)
    )
