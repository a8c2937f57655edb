"""Checkpoints: tensors and JSON facts as safetensors bytes. Nothing is ever unpickled, since a pickle runs code."""

import json
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from services.generator.models.network import build_network, place_network
from services.generator.models.preset import Preset
from services.generator.models.training_record import TRAINING
from services.generator.models.weight_files import FACTS, LENGTH_BYTES, refuse_pickle
from shared.errors import InvalidInput


class CheckpointDamaged(InvalidInput):
    """The file is no safetensors file, or its tensors do not fit the network."""

    discards_resume = True


def write_tensors(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> bytes:
    """`tensors` and the JSON-able `facts` as the bytes of one safetensors file."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(contiguous, metadata={FACTS: json.dumps(facts, sort_keys=True)})


def read_tensors(data: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the facts that `write_tensors` put into `data`.

    Raises:
        CheckpointIsPickle: `data` is a pickle; it is not opened.
        CheckpointDamaged: `data` is no safetensors file, or not one of ours.
    """
    refuse_pickle(data[:LENGTH_BYTES])
    try:
        tensors = safetensors.torch.load(data)
        length = int.from_bytes(data[:LENGTH_BYTES], "little")
        header = json.loads(data[LENGTH_BYTES : LENGTH_BYTES + length])
        facts = json.loads(header["__metadata__"][FACTS])
    except (SafetensorError, KeyError, ValueError) as error:
        raise CheckpointDamaged(
            "This is not a checkpoint of this platform: its safetensors header cannot be read."
        ) from error
    return tensors, facts


def write_weights(state: Mapping[str, Tensor], preset: Preset, training: Mapping[str, Any] | None = None) -> bytes:
    """The weights of a network and the preset that builds it, as safetensors bytes.

    Args:
        state: the weights.
        preset: of their network.
        training: how they came about, the members of a `TrainingRecord`, for files that leave the platform's world.
    """
    facts = {"preset": preset.model_dump(mode="json")}
    return write_tensors(state, facts if training is None else {**facts, TRAINING: dict(training)})


def load_network(data: bytes, device: torch.device | None = None) -> tuple[nn.Module, Preset]:
    """The network whose weights `write_weights` stored, ready to sample on `device`, and its preset.

    Raises:
        CheckpointIsPickle, CheckpointDamaged: see `read_tensors`; also when a weight is missing, extra or misshapen.
    """
    state, facts = read_tensors(data)
    try:
        preset = Preset.model_validate(facts["preset"])
        network = build_network(preset.unet)
        network.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError) as error:
        raise CheckpointDamaged("The weights in this checkpoint do not fit the network it describes.") from error
    return place_network(network, device or torch.device("cpu")).eval(), preset
