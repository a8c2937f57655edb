"""Weights that came from elsewhere: MONAI's names, old and new, and whether they fit the network they are for."""

import re
from collections.abc import Mapping
from typing import Final

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from services.generator.models.network import NoisePredictor
from services.generator.models.preset import Preset
from services.generator.models.weight_files import NotSafetensors, refuse_pickle
from shared.errors import InvalidInput

# The names of monai-generative (github.com/Project-MONAI/GenerativeModels) that MONAI core changed; the same pairs as
# `DiffusionModelUNet.load_old_state_dict`, which neither names what is left over nor what is missing.
_RENAMES: Final = (
    (re.compile(r"((?:attentions\.\d+|attention))\.to_([qkv])\."), r"\1.attn.to_\2."),
    (re.compile(r"((?:attentions\.\d+|attention))\.proj_attn\."), r"\1.attn.out_proj."),
    (re.compile(r"\bupsampler\.conv\."), "upsampler.postconv."),
)
_WRAPPER: Final = "module."
"""What torch.nn.DataParallel puts before every name."""


class TensorsDoNotFit(InvalidInput):
    """The tensors of the file are not those of the network that the preset describes."""


class WeightsNotFinite(InvalidInput):
    """The file holds NaN or infinite weights, or such as float32 has no number for."""


def read_weights(data: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file, whoever wrote it.

    Raises:
        CheckpointIsPickle: `data` is a pickle; it is not opened.
        NotSafetensors: it is something else.
    """
    refuse_pickle(data[:8])
    try:
        return safetensors.torch.load(data)
    except SafetensorError as error:
        raise NotSafetensors("This safetensors file cannot be read; save it again.") from error


def modern_name(name: str) -> str:
    """The name that MONAI core has for a tensor of monai-generative or its own, wrapped by DataParallel or not."""
    name = name.removeprefix(_WRAPPER)
    for old, new in _RENAMES:
        name = old.sub(new, name)
    return name


def fit_weights(tensors: Mapping[str, Tensor], preset: Preset) -> dict[str, Tensor]:
    """`tensors` as float32 state dict of the network of `preset`.

    Raises:
        TensorsDoNotFit: a tensor is missing, left over, doubled, or of another shape.
        WeightsNotFinite: a tensor holds NaN or infinity, as it is or as float32.
    """
    with torch.device("meta"):  # shapes only, no memory
        wanted = {name: tuple(tensor.shape) for name, tensor in NoisePredictor(preset.unet).state_dict().items()}
    renamed = {modern_name(name): tensor for name, tensor in tensors.items()}
    complaints = []
    if len(renamed) < len(tensors):
        complaints.append(f"{len(tensors) - len(renamed)} occur under an old and a new name")
    if missing := [name for name in wanted if name not in renamed]:
        complaints.append(_complain(missing, "missing"))
    if extra := [name for name in renamed if name not in wanted]:
        complaints.append(_complain(extra, "left over"))
    misshapen = [
        f"{name} {list(tensor.shape)} in place of {list(wanted[name])}"
        for name, tensor in renamed.items()
        if name in wanted and tuple(tensor.shape) != wanted[name]
    ]
    if misshapen:
        complaints.append(_complain(misshapen, "of another shape"))
    if complaints:
        raise TensorsDoNotFit(
            f"The tensors are not those of the network of preset {preset.name}: {'; '.join(complaints)}. Name the "
            "preset it was trained with, or give its shape in `config`.",
            missing=missing[:20],
            extra=extra[:20],
            misshapen=misshapen[:20],
        )
    weights = {name: renamed[name].to(torch.float32) for name in wanted}
    if broken := [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]:
        raise WeightsNotFinite(
            f"The file holds NaN, infinite numbers, or numbers beyond float32: {_complain(broken, 'affected')}."
        )
    return weights


def _complain(names: list[str], what: str) -> str:
    """For example `12 missing (conv_in.conv.weight, conv_in.conv.bias, time_embed.0.weight, ...)`."""
    return f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
