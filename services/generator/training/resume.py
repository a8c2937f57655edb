"""Resume bundles: all a training needs to go on as if it had never stopped, as safetensors bytes and JSON.

No random state is in them: the numbers of update k are drawn from (seed, k), see `batches`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from services.generator.models.checkpoints import CheckpointDamaged, read_tensors, write_tensors
from services.generator.models.preset import Preset
from services.generator.training.curves import Losses, Measurement
from services.generator.training.data import TrainingData
from shared.errors import Conflict, InvalidInput


class ResumeBundleMismatch(Conflict):
    """The resume bundle belongs to a training on other images, another preset or another seed."""

    discards_resume = True


class EpochsDecided(InvalidInput):
    """A training has come too far to end after another number of epochs."""


@dataclass(frozen=True)
class ResumeState:
    """A training after `len(losses)` updates.

    Args:
        weights: sets of the network's weights by name: `raw`, and where there are such `average`, `best_raw` and
            `best_average`.
        optimizer: state of Adam, one dict of tensors per parameter, in the order of the parameters.
        losses: loss of each update done.
        measurements: what was measured between them.
        seconds: time spent in those updates.
        precision: arithmetic of the network in those updates, for example `bfloat16`; `float16, then float32` where a
            training begun on a GPU went on without one.
        scaler: state of the scaling of a float16 loss, else empty.
    """

    weights: dict[str, dict[str, Tensor]]
    optimizer: list[dict[str, Tensor]]
    losses: list[Losses]
    measurements: list[Measurement]
    seconds: float
    precision: str
    scaler: dict[str, Any] = field(default_factory=dict)


def fingerprint_data(data: TrainingData) -> str:
    """SHA-256 of shapes, gray levels and classes of all images, in their order."""
    digest = hashlib.sha256()
    for array in (data.images_u8, data.held_out_u8, data.classes, data.held_out_classes):
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def fingerprint_weights(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names and values of all weights, as float32."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def write_resume(state: ResumeState, training_id: Mapping[str, Any]) -> bytes:
    """`state` as bytes; `training_id` is JSON that tells this training from every other."""
    tensors = {f"weights/{kind}/{name}": t for kind, named in state.weights.items() for name, t in named.items()}
    for number, moments in enumerate(state.optimizer):
        tensors |= {f"optimizer/{number}/{name}": tensor for name, tensor in moments.items()}
    losses = [[loss.plain, loss.weighted] for loss in state.losses]
    tensors["losses"] = torch.tensor(losses, dtype=torch.float64).reshape(-1, 2)
    facts = {
        "training": dict(training_id),
        "measurements": [asdict(measurement) for measurement in state.measurements],
        "seconds": state.seconds,
        "precision": state.precision,
        "scaler": state.scaler,
    }
    return write_tensors(tensors, facts)


def read_resume(data: bytes, training_id: Mapping[str, Any] | None = None) -> ResumeState:
    """The state that `write_resume` stored, for the same `training_id` if one is given.

    Raises:
        ResumeBundleMismatch: it was stored for another training.
        CheckpointDamaged, CheckpointIsPickle: see `checkpoints.read_tensors`.
    """
    tensors, facts = read_tensors(data)
    if training_id is not None and _complete(facts.get("training", {})) != _complete(training_id):
        raise ResumeBundleMismatch(
            "The saved state is of a training on other images or with other settings, so it cannot be gone on from; "
            "start a new training."
        )
    optimizer: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under(tensors, "optimizer/").items():
        number, moment = name.split("/", 1)
        optimizer.setdefault(int(number), {})[moment] = tensor
    weights: dict[str, dict[str, Tensor]] = {}
    for name, tensor in _under(tensors, "weights/").items():
        kind, parameter = name.split("/", 1)
        weights.setdefault(kind, {})[parameter] = tensor
    return ResumeState(
        weights=weights,
        optimizer=[optimizer[number] for number in sorted(optimizer)],
        losses=[Losses(*pair) for pair in tensors["losses"].tolist()],
        measurements=[Measurement(**measurement) for measurement in facts["measurements"]],
        seconds=float(facts["seconds"]),
        precision=facts["precision"],
        scaler=facts["scaler"],
    )


def read_preset(data: bytes) -> Preset:
    """The preset of the training that a resume bundle is of.

    Raises:
        CheckpointDamaged, CheckpointIsPickle: it is none.
    """
    return _preset_of(read_tensors(data)[1])


def change_epochs(data: bytes, epochs: int, n_images: int) -> bytes:
    """The resume bundle of the same training on `n_images`, had it been asked for `epochs` from the beginning.

    Raises:
        EpochsDecided: it would have come to another state by now.
        CheckpointDamaged, CheckpointIsPickle: `data` is no resume bundle.
        PresetValueInvalid: no training may have so many epochs.
    """
    tensors, facts = read_tensors(data)
    before = _preset_of(facts)
    preset = before.override(epochs=epochs)
    done, measured = len(tensors["losses"]), [measurement["epoch"] for measurement in facts["measurements"]]

    def is_here(epochs: int) -> bool:
        return _same_so_far(before, before.model_copy(update={"epochs": epochs}), done, measured, n_images)

    if epochs != before.epochs and not is_here(epochs):
        if not is_here(before.epochs + 1):
            raise EpochsDecided(
                f"This training of {before.epochs} epochs is at its end, where the step size falls: let it end, and "
                "begin another with its weights."
            )
        least = next(n for n in range(epochs + 1, before.epochs + 1) if is_here(n))
        raise EpochsDecided(
            f"{done} updates are made, more than a training of {epochs} epochs makes before its step size falls; "
            f"{least} epochs or more can be had."
        )
    facts["training"]["preset"] = preset.model_dump(mode="json")
    return write_tensors(tensors, facts)


def _same_so_far(before: Preset, preset: Preset, done: int, measured: Sequence[int], n_images: int) -> bool:
    """Whether trainings by both, which differ in their epochs alone, have the same `done` updates behind them.

    The step size rises, stays and falls: where two trainings agree in that of the last update, they do in all before.
    """
    last, n_before, n_updates = max(done - 1, 0), before.count_updates(n_images), preset.count_updates(n_images)
    return (
        done <= n_updates
        and before.learning_rate_at(last, n_before) == preset.learning_rate_at(last, n_updates)
        and all(epoch % preset.validate_every == 0 or epoch == preset.epochs for epoch in measured)
    )


def _preset_of(facts: Mapping[str, Any]) -> Preset:
    try:
        return Preset.model_validate(facts["training"]["preset"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointDamaged("This is no resume bundle of a training.") from error


def _complete(training_id: Mapping[str, Any]) -> dict[str, Any]:
    """`training_id` with its preset's fields that a version before did not know, at their defaults."""
    completed = dict(training_id)
    with suppress(ValidationError):  # Then it is compared as it is.
        completed["preset"] = Preset.model_validate(completed.get("preset")).model_dump(mode="json")
    return completed


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
