"""One run: build, train phase by phase, test; a killed run ends where an undisturbed one does."""

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from services.classifier.metrics import accuracy
from services.classifier.network import weights_to_bytes
from services.classifier.presets import NetworkConfig, TrainingConfig
from services.classifier.scenarios import run as run_module
from services.classifier.scenarios.run import LabelledImages, Outcome, Phase, run_phases, thin_curve
from shared.progress import NoProgress

Shapes = tuple[NDArray[np.uint8], NDArray[np.int64]]
NETWORK = NetworkConfig("vgg19-compact", 32, "pm1")


class Counting(NoProgress):
    """Remembers the counts it was told."""

    def __init__(self) -> None:
        self.updates: list[tuple[int, int]] = []

    def update(self, done: int, total: int) -> None:
        self.updates.append((done, total))


def without_seconds(outcome: Outcome) -> dict[str, Any]:
    return {key: value for key, value in outcome.to_json().items() if not key.endswith("_seconds")}


def test_two_phases_count_as_one_run_and_resume_in_the_second(shapes: Shapes, other_shapes: Shapes) -> None:
    config = TrainingConfig(epochs=1, batch_size=16, learning_rate=1e-3)
    first = Phase(LabelledImages(*shapes), config)
    second = Phase(LabelledImages(shapes[0][:32], shapes[1][:32]), config)
    test = LabelledImages(*other_shapes)
    progress, bundles = Counting(), []
    with pytest.MonkeyPatch.context() as patch:
        # Saving is a matter of time; every update may save here.
        patch.setattr(run_module, "SAVE_EVERY_S", 0.0)
        outcome = run_phases([first, second], test, NETWORK, 33, progress=progress, save=bundles.append)
    assert progress.updates == [(k, 6) for k in range(1, 7)]
    assert outcome.confusion.sum() == len(test) == 32
    assert [len(history.loss) for history in outcome.histories] == [4, 2]
    result = outcome.to_json()
    assert result["updates"] == 6
    assert len(result["curves"]["loss"]) == 6

    finished, bundle = bundles[-1].split(b"\n", 1)
    (history,) = json.loads(finished)
    assert history["loss"] == outcome.histories[0].loss
    # As if the first phase had taken 500 seconds.
    marked = json.dumps([{**history, "seconds": 500.0}]).encode() + b"\n" + bundle
    resumed = run_phases([first, second], test, NETWORK, 33, resume=marked)
    assert without_seconds(resumed) == without_seconds(outcome)
    assert resumed.to_json()["train_seconds"] > 500
    assert weights_to_bytes(resumed.trained.network) == weights_to_bytes(outcome.trained.network)
    assert accuracy(resumed.confusion) == accuracy(outcome.confusion)


def test_a_curve_is_thinned_to_means() -> None:
    assert thin_curve([]) == []
    assert thin_curve([1.0, 2.0]) == [1.0, 2.0]
    assert thin_curve([0.0, 1.0, 2.0, 3.0], points=2) == [0.5, 2.5]
    assert len(thin_curve([0.0] * 1001)) == 200
