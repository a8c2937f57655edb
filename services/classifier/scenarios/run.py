"""Train one classifier on one composition with one seed, and test it on real images."""

import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.classifier.inference import TrainedNetwork, predict
from services.classifier.metrics import confusion_matrix
from services.classifier.network import build_network
from services.classifier.presets import NetworkConfig, TrainingConfig
from services.classifier.training import History, seed_everything, train
from shared.progress import NoProgress, Progress

CURVE_POINTS = 200
"""A stored loss curve has at most this many points."""
SAVE_EVERY_S = 30.0
"""Least time between two resume bundles, seconds."""


@dataclasses.dataclass(frozen=True)
class LabelledImages:
    """Images of the network's size with their classes.

    Attributes:
        images_u8: (N, H, W) uint8 in 0..255.
        class_index: (N,) int64 indices into `CLASS_ORDER`.
    """

    images_u8: NDArray[np.uint8]
    class_index: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.class_index)


@dataclasses.dataclass(frozen=True)
class Phase:
    """One training in a run; scenario 5 has two with the same network."""

    data: LabelledImages
    config: TrainingConfig


@dataclasses.dataclass
class Outcome:
    """The trained network, its test, and how training went."""

    trained: TrainedNetwork
    confusion: NDArray[np.int64]
    histories: list[History]
    test_seconds: float

    def to_json(self) -> dict[str, Any]:
        """What the report needs; small enough for a row."""
        loss = [value for history in self.histories for value in history.loss]
        accuracy = [value for history in self.histories for value in history.accuracy]
        return {
            "confusion": self.confusion.tolist(),
            "updates": len(loss),
            "train_seconds": round(sum(history.seconds for history in self.histories), 2),
            "test_seconds": round(self.test_seconds, 2),
            "curves": {"loss": thin_curve(loss), "accuracy": thin_curve(accuracy)},
        }


def run_phases(
    phases: list[Phase],
    test: LabelledImages,
    network_config: NetworkConfig,
    seed: int,
    *,
    library_weights: bytes | None = None,
    progress: Progress | None = None,
    resume: bytes | None = None,
    save: Callable[[bytes], None] | None = None,
) -> Outcome:
    """Build, train phase by phase, and test.

    Args:
        phases: at least one; a later phase goes on with the same network.
        test: real images that are in no phase.
        network_config: the network to build.
        seed: of weights, order, augmentation and dropout.
        library_weights: ImageNet weights for `vgg19`.
        progress: counts optimizer updates over all phases.
        resume: the last bundle `save` was given; goes on from there.
        save: keeps a bundle from which a killed run continues.

    Raises:
        Cancelled: the user cancelled.
    """
    progress = progress or NoProgress()
    seed_everything(seed)
    network = build_network(network_config, library_weights)
    n_updates = [phase.config.n_updates(len(phase.data)) for phase in phases]
    histories, bundle = _split_bundle(resume)
    first = len(histories)
    for k, phase in enumerate(phases[first:], start=first):
        histories.append(
            train(
                network,
                network_config,
                phase.data.images_u8,
                phase.data.class_index,
                phase.config,
                seed,
                progress=_Shifted(progress, sum(n_updates[:k]), sum(n_updates)),
                resume=bundle if k == first else None,
                save=_saving(save, histories),
                save_every_s=SAVE_EVERY_S,
            )
        )
    started = time.monotonic()
    trained = TrainedNetwork(network, network_config)
    predicted = predict(trained, test.images_u8, check=progress.raise_if_cancelled).argmax(axis=1)
    confusion = confusion_matrix(test.class_index, predicted.astype(np.int64))
    return Outcome(trained, confusion, histories, time.monotonic() - started)


def thin_curve(values: list[float], points: int = CURVE_POINTS) -> list[float]:
    """Means over equal stretches of the curve, at most `points` of them, rounded to 5 decimals."""
    if not values:
        return []
    stretches = np.array_split(np.asarray(values, np.float64), min(points, len(values)))
    return [round(float(stretch.mean()), 5) for stretch in stretches]


class _Shifted:
    """Progress of one phase, counted within the whole run."""

    def __init__(self, inner: Progress, offset: int, total: int) -> None:
        self._inner, self._offset, self._total = inner, offset, total

    def update(self, done: int, total: int) -> None:  # noqa: ARG002 the run's total replaces the phase's
        self._inner.update(self._offset + done, self._total)

    def note(self, **facts: float | int | str) -> None:
        self._inner.note(**facts)

    def raise_if_cancelled(self) -> None:
        self._inner.raise_if_cancelled()


def _saving(save: Callable[[bytes], None] | None, finished: list[History]) -> Callable[[bytes], None] | None:
    """`save` that puts the histories of the finished phases before the bundle, as one line of JSON."""
    if save is None:
        return None
    line = json.dumps([dataclasses.asdict(history) for history in finished]).encode() + b"\n"
    return lambda bundle: save(line + bundle)


def _split_bundle(resume: bytes | None) -> tuple[list[History], bytes | None]:
    """The histories of the finished phases, and the bundle of the one that was interrupted."""
    if resume is None:
        return [], None
    line, bundle = resume.split(b"\n", 1)
    return [History(**history) for history in json.loads(line)], bundle
