"""The file that goes to the node: the images as the network learns them, and all that decides their training."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import torch
from torch import Tensor

from services.generator.models.checkpoints import CheckpointDamaged, read_tensors, write_tensors
from services.generator.models.preset import Preset
from services.generator.training.data import TrainingData

_START: Final = "start/"


@dataclass(frozen=True)
class Parcel:
    """One training, ready to be made.

    Args:
        data: the images, already of the preset's size.
        preset: network, schedule, objective and optimiser.
        seed: of the training.
        start: weights to begin with; None: drawn from the seed.
        described: what the card will say of the images: the set, counts, warnings; JSON-able.
    """

    data: TrainingData
    preset: Preset
    seed: int
    start: Mapping[str, Tensor] | None = None
    described: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The parcel as the bytes of one safetensors file."""
        tensors = {
            "images": torch.from_numpy(self.data.images_u8),
            "held_out": torch.from_numpy(self.data.held_out_u8),
            "classes": torch.from_numpy(self.data.classes),
            "held_out_classes": torch.from_numpy(self.data.held_out_classes),
            **{f"{_START}{name}": tensor for name, tensor in (self.start or {}).items()},
        }
        facts = {"preset": self.preset.model_dump(mode="json"), "seed": self.seed, "described": dict(self.described)}
        return write_tensors(tensors, facts)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The parcel that `to_bytes` wrote.

        Raises:
            CheckpointIsPickle, CheckpointDamaged: it is none.
        """
        tensors, facts = read_tensors(data)
        start = {name.removeprefix(_START): t for name, t in tensors.items() if name.startswith(_START)}
        try:
            images = TrainingData(
                *(tensors[name].numpy() for name in ("images", "held_out", "classes", "held_out_classes"))
            )
            preset = Preset.model_validate(facts["preset"])
            return cls(images, preset, facts["seed"], start or None, facts["described"])
        except (KeyError, ValueError) as error:
            raise CheckpointDamaged("This is no file of `python -m deploy.offline pack`; make one anew.") from error
