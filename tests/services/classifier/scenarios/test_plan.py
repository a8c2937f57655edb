"""Phases of a composition."""

import pytest

from services.classifier.presets import TrainingConfig
from services.classifier.scenarios.composition import Composition, Count, FineTuning
from services.classifier.scenarios.plan import plan_phases
from shared.tumour import CLASS_ORDER

REAL = {name: [f"r/{name}/{k}" for k in range(40)] for name in CLASS_ORDER}
SYNTHETIC = {name: [f"s/{name}/{k}" for k in range(40)] for name in CLASS_ORDER}
COUNTS = dict.fromkeys(CLASS_ORDER, Count("all", 0))


def test_a_plain_composition_has_one_phase() -> None:
    (phase,) = plan_phases(Composition("c", COUNTS), REAL, SYNTHETIC, TrainingConfig(epochs=5), 33)
    assert phase.n_updates == 25
    assert len(phase.selection) == 160


@pytest.mark.parametrize(("updates", "expected"), [(None, 3 * (240 // 32)), (100, 60)])
def test_fine_tuning_lasts_three_fifths_as_long(updates: int | None, expected: int) -> None:
    tuning = FineTuning(0.5, dict.fromkeys(CLASS_ORDER, 40), 0.6)
    training = TrainingConfig(epochs=5, batch_size=32, updates=updates)
    _, second = plan_phases(Composition("c", COUNTS, tuning), REAL, SYNTHETIC, training, 33)
    assert len(second.selection.real) == 80
    assert len(second.selection.synthetic) == 160
    assert second.n_updates == expected
