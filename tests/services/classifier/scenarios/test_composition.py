"""Compositions: counts, nesting, the study's own choices, and clear refusals."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.classifier.scenarios.composition import (
    STUDY_ROW_ORDER,
    Composition,
    Count,
    EmptyComposition,
    FineTuning,
    NotEnoughImages,
    select,
    select_fine_tuning,
    union,
)
from shared.tumour import CLASS_ORDER, TumourClass

REAL = {name: [f"real/{name}/{k}" for k in range(40)] for name in CLASS_ORDER}
SYNTHETIC = {name: [f"synthetic/{name}/{k}" for k in range(30)] for name in CLASS_ORDER}
COUNTS = st.fixed_dictionaries({
    name: st.builds(Count, real=st.one_of(st.just("all"), st.integers(1, 40)), synthetic=st.integers(0, 30))
    for name in CLASS_ORDER
})  # fmt: skip


@given(COUNTS)
def test_a_selection_has_the_counts_asked_for_and_nothing_twice(counts: dict[TumourClass, Count]) -> None:
    selection = select(Composition("c", counts), REAL, SYNTHETIC)
    for name, count in counts.items():
        real = [key for c, key in selection.real if c == name]
        synthetic = [key for c, key in selection.synthetic if c == name]
        assert len(real) == (40 if count.real == "all" else count.real)
        assert len(synthetic) == count.synthetic
        assert set(real) <= set(REAL[name])
        assert set(synthetic) <= set(SYNTHETIC[name])
    keys = [key for _, key in selection.real + selection.synthetic]
    assert len(keys) == len(set(keys)) == len(selection)


@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 30), st.integers(0, 30))
def test_a_smaller_choice_is_part_of_every_larger_one(a: int, b: int, c: int, d: int) -> None:
    small = Composition("s", {name: Count(min(a, b) or 1, min(c, d)) for name in CLASS_ORDER})
    large = Composition("l", {name: Count(max(a, b), max(c, d)) for name in CLASS_ORDER})
    chosen_small, chosen_large = select(small, REAL, SYNTHETIC), select(large, REAL, SYNTHETIC)
    assert set(chosen_small.real) <= set(chosen_large.real)
    assert set(chosen_small.synthetic) <= set(chosen_large.synthetic)


def test_all_real_images_stand_in_the_order_of_the_set_however_they_are_asked_for() -> None:
    named = select(Composition("c", {name: Count(40) for name in CLASS_ORDER}), REAL, SYNTHETIC)
    assert named == select(Composition("c", {name: Count("all") for name in CLASS_ORDER}), REAL, SYNTHETIC)
    assert [key for _, key in named.real[:3]] == REAL[STUDY_ROW_ORDER[0]][:3]


def test_a_composition_of_a_version_before_is_drawn_as_it_was() -> None:
    asked = Composition("c", {name: Count(40) for name in CLASS_ORDER})
    assert Composition.from_json("c", asked.to_json()) == asked
    before = Composition.from_json("c", {"counts": asked.to_json()["counts"]})
    chosen = select(before, REAL, SYNTHETIC)
    assert chosen.real != select(asked, REAL, SYNTHETIC).real
    assert sorted(chosen.real) == sorted(select(asked, REAL, SYNTHETIC).real)


def test_synthetic_images_are_the_ones_the_study_drew() -> None:
    # Study, section 5.2: "110, 419, 565, 77, 181, 284, 10, 469, ..." of a 600-row block.
    pool = {name: [str(k) for k in range(600)] for name in CLASS_ORDER}
    selection = select(Composition("c", {name: Count("all", 8) for name in CLASS_ORDER}), REAL, pool)
    glioma = [int(key) for name, key in selection.synthetic if name == "glioma"]
    assert glioma == [110, 419, 565, 77, 181, 284, 10, 469]


def test_too_few_images_are_refused_with_class_asked_and_available() -> None:
    with pytest.raises(NotEnoughImages) as refused:
        select(Composition("2.3", {TumourClass.MENINGIOMA: Count(0, 31)}), REAL, SYNTHETIC)
    assert refused.value.status == 422
    assert refused.value.extra | {"composition": "2.3"} == refused.value.extra
    assert (refused.value.extra["asked"], refused.value.extra["available"]) == (31, 30)
    for word in ("2.3", "31", "30", "synthetic", "meningioma"):
        assert word in refused.value.detail


@pytest.mark.parametrize("counts", [{}, {TumourClass.GLIOMA: Count(5, 5)}])
def test_fewer_than_two_classes_are_refused(counts: dict[TumourClass, Count]) -> None:
    with pytest.raises(EmptyComposition):
        select(Composition("c", counts), REAL, SYNTHETIC)


def test_a_composition_survives_the_wire() -> None:
    tuned = Composition("5", {TumourClass.GLIOMA: Count("all", 3)}, FineTuning(0.5, {TumourClass.GLIOMA: 2}, 0.6))
    for composition in (tuned, Composition("plain", {TumourClass.NOTUMOR: Count(7, 0)})):
        assert Composition.from_json(composition.name, composition.to_json()) == composition


@pytest.mark.parametrize(
    ("seed", "expected"),
    # Study, section 5.2, "5 phase 2": glioma, meningioma, pituitary, notumor.
    [(33, (438, 373, 354, 438)), (66, (448, 402, 367, 386)), (99, (432, 395, 374, 402))],
)
def test_the_second_phase_of_scenario_5_has_the_studys_counts(seed: int, expected: tuple[int, ...]) -> None:
    sizes = dict(zip(STUDY_ROW_ORDER, (867, 802, 721, 817), strict=True))
    real = {name: [f"{name}/{k}" for k in range(n)] for name, n in sizes.items()}
    tuning = FineTuning(0.5, dict.fromkeys(STUDY_ROW_ORDER, 30), 0.6)
    composition = Composition("5", {name: Count("all") for name in STUDY_ROW_ORDER}, tuning)
    second = select_fine_tuning(composition, tuning, real, SYNTHETIC, seed)
    counts = Counter(name for name, _ in second.real)
    assert tuple(counts[name] for name in STUDY_ROW_ORDER) == expected
    assert len(second.synthetic) == 120
    first = select(composition, real, SYNTHETIC)
    assert set(second.real) <= set(first.real)
    both = union([first, second])
    assert both.real == first.real
    assert both.synthetic == second.synthetic
