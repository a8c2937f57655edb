"""Resume bundles: all a training needs to go on as if it had never stopped, as safetensors bytes and JSON.

No random state is in them: the numbers of update k are drawn from (seed, k), see `training`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from services.generator.checkpoints import read_tensors, write_tensors
from services.generator.images import ImageU8
from shared.errors import Conflict


class ResumeBundleMismatch(Conflict):
    """The resume bundle belongs to a training on other images, another preset or another seed."""

    discards_resume = True


@dataclass(frozen=True)
class ResumeState:
    """A training after `len(losses)` updates.

    Args:
        weights: of the network.
        average: moving average of the weights, or None where the preset keeps none.
        optimizer: state of Adam, one dict of tensors per parameter, in the order of the parameters.
        losses: loss of each update done.
        seconds: time spent in those updates.
    """

    weights: dict[str, Tensor]
    average: dict[str, Tensor] | None
    optimizer: list[dict[str, Tensor]]
    losses: list[float]
    seconds: float


def fingerprint_images(images_u8: ImageU8) -> str:
    """SHA-256 of shape and gray levels of `images_u8`, (N, H, W) uint8, in their order."""
    return hashlib.sha256(repr(images_u8.shape).encode() + images_u8.tobytes()).hexdigest()


def write_resume(state: ResumeState, training_id: Mapping[str, Any]) -> bytes:
    """`state` as bytes; `training_id` is JSON that tells this training from every other."""
    tensors = {f"weights/{name}": tensor for name, tensor in state.weights.items()}
    tensors |= {f"average/{name}": tensor for name, tensor in (state.average or {}).items()}
    for number, moments in enumerate(state.optimizer):
        tensors |= {f"optimizer/{number}/{name}": tensor for name, tensor in moments.items()}
    tensors["losses"] = torch.tensor(state.losses, dtype=torch.float64)
    facts = {"training": dict(training_id), "seconds": state.seconds, "step": len(state.losses)}
    return write_tensors(tensors, facts)


def read_resume(data: bytes, training_id: Mapping[str, Any]) -> ResumeState:
    """The state that `write_resume` stored for the same `training_id`.

    Raises:
        ResumeBundleMismatch: it was stored for another training.
        CheckpointDamaged, CheckpointIsPickle: see `checkpoints.read_tensors`.
    """
    tensors, facts = read_tensors(data)
    if facts.get("training") != dict(training_id):
        raise ResumeBundleMismatch(
            "The saved state is of a training on other images or with other settings, so it cannot be gone on from; "
            "start a new training."
        )
    optimizer: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under(tensors, "optimizer/").items():
        number, moment = name.split("/", 1)
        optimizer.setdefault(int(number), {})[moment] = tensor
    return ResumeState(
        weights=_under(tensors, "weights/"),
        average=_under(tensors, "average/") or None,
        optimizer=[optimizer[number] for number in sorted(optimizer)],
        losses=tensors["losses"].tolist(),
        seconds=float(facts["seconds"]),
    )


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
