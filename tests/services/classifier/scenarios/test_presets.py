"""The study's scenarios have the study's numbers."""

import pytest

from services.classifier.scenarios.composition import STUDY_ROW_ORDER, Count, NotEnoughImages, select
from services.classifier.scenarios.presets import SCENARIOS, UnknownScenario, scenario_compositions
from shared.tumour import TumourClass

FULL_REAL = dict(zip(STUDY_ROW_ORDER, (867, 802, 721, 817), strict=True))
POOL = {name: [f"{name}/{k}" for k in range(n)] for name, n in FULL_REAL.items()}
SYNTHETIC = {name: [f"s/{name}/{k}" for k in range(600)] for name in STUDY_ROW_ORDER}


@pytest.mark.parametrize(
    ("scenario", "totals"),
    # Column "total" of the table in study section 5.2, and of section 6 for the mini experiments.
    [
        ("1", [3207, 3468]),
        ("2", [3207, 3297, 3407, 3608]),
        ("3", [3207, 3394, 3623, 4041]),
        ("4", [3207, 4007, 4807, 5607]),
        ("6", [3207, 2400]),
        ("mini-real", [72, 144, 216, 360, 720]),
        ("mini-mixed", [72, 144, 216, 360, 720]),
    ],
)
def test_totals_are_the_studys(scenario: str, totals: list[int]) -> None:
    assert [len(select(c, POOL, SYNTHETIC)) for c in scenario_compositions(scenario)] == totals


def test_scenario_1_fills_every_class_up_to_867() -> None:
    counts = scenario_compositions("1")[1].counts
    assert {name: count.synthetic for name, count in counts.items()} == {
        TumourClass.GLIOMA: 0, TumourClass.MENINGIOMA: 65, TumourClass.PITUITARY: 146, TumourClass.NOTUMOR: 50
    }  # fmt: skip


def test_scenario_3_adds_the_studys_glioma_and_meningioma() -> None:
    added = [(c.counts[TumourClass.GLIOMA].synthetic, c.counts[TumourClass.MENINGIOMA].synthetic)
             for c in scenario_compositions("3")[1:]]  # fmt: skip
    assert added == [(97, 90), (216, 200), (433, 401)]


def test_mini_runs_share_their_72_real_images() -> None:
    base, *larger = scenario_compositions("mini-mixed")
    chosen = select(base, POOL, SYNTHETIC).real
    assert all(select(c, POOL, SYNTHETIC).real == chosen for c in larger)
    assert all(count == Count(18, 0) for count in base.counts.values())


def test_all_runs_every_scenario_once_and_real_only_first() -> None:
    names = [c.name for c in scenario_compositions("all")]
    assert names[0] == "Initial"
    assert len(names) == len(set(names)) == 1 + sum(len(SCENARIOS[k]) - 1 for k in "123456")


def test_scenario_5_has_a_control_without_synthetic_images() -> None:
    _, tuned, control = scenario_compositions("5")
    assert tuned.fine_tuning is not None
    assert control.fine_tuning is not None
    assert sum(tuned.fine_tuning.synthetic.values()) == 2400
    assert sum(control.fine_tuning.synthetic.values()) == 0


def test_a_set_smaller_than_the_studys_is_refused() -> None:
    small = {name: names[:100] for name, names in POOL.items()}
    with pytest.raises(NotEnoughImages, match="asks for 867 real glioma images; there are 100"):
        select(scenario_compositions("4")[0], small, SYNTHETIC)


def test_an_unknown_scenario_names_the_valid_ones() -> None:
    with pytest.raises(UnknownScenario) as refused:
        scenario_compositions("7")
    assert "mini-mixed" in refused.value.extra["valid"]
