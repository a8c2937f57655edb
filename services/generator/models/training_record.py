"""What a file of weights says of itself, in the metadata of its header: its preset, and how it was trained; no torch.

The platform writes the preset into all weights that it stores, `deploy.offline train` its card as well. Whoever writes
a file can write anything there, so what is read has known names, types and bounds.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from services.generator.models.preset import MAX_EPOCHS, MAX_SEED, Preset
from services.generator.models.weight_files import FACTS
from shared.errors import InvalidInput
from shared.texts import Identifier
from shared.tumour import TumourClass

TRAINING: Final = "training"
"""Where the record lies among the facts of a file, beside `preset`."""
_MAX_CURVE: Final = 2 * MAX_EPOCHS
_PRECISION: Final = "(float32|bfloat16|float16)"

_Word = Annotated[str, StringConstraints(max_length=200)]
_Sentence = Annotated[str, StringConstraints(max_length=2000)]
_Count = Annotated[int, Field(ge=0, le=2**53)]


LISTED: Final[tuple[str, ...]] = (
    "n_images",
    "epochs",
    "updates",
    "parameters",
    "final_loss",
    "seconds",
    "images_per_s",
    "precision",
)
"""What a list of models shows of a card."""


class RecordUnreadable(InvalidInput):
    """What the file of weights says of itself is damaged, or of another version."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False, populate_by_name=True)


class _Warning(_Frozen):
    code: _Word
    detail: _Sentence


class _Measurement(_Frozen):
    epoch: _Count
    images_per_s: float
    validation_loss: float | None = None
    average_validation_loss: float | None = None


class _Curves(_Frozen):
    epoch: list[_Count] = Field([], max_length=_MAX_CURVE)
    loss: list[float] = Field([], max_length=_MAX_CURVE)
    weighted_loss: list[float] = Field([], max_length=_MAX_CURVE)
    learning_rate: list[float] = Field([], max_length=_MAX_CURVE)
    measurements: list[_Measurement] = Field([], max_length=_MAX_CURVE)


class TrainingRecord(_Frozen):
    """How weights came about, as their file says; all that a card of the platform's own trainings says, and the device.

    Args:
        image_set: id of the set that was trained on, on the platform that packed it.
        tumour_class: what a network of one class draws.
        start_from: id of the model that the training began with, on the same platform.
    """

    image_set: Identifier | None = None
    tumour_class: TumourClass | None = Field(None, alias="class")
    start_from: Identifier | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    n_images: _Count | None = None
    n_held_out: _Count | None = None
    epochs: _Count | None = None
    updates: _Count | None = None
    final_loss: float | None = None
    seconds: float | None = None
    images_per_s: float | None = None
    precision: str | None = Field(None, max_length=200, pattern=f"^{_PRECISION}(, then {_PRECISION})*$")
    chosen_weights: _Word | None = None
    device: _Word | None = None
    finished: _Word | None = None
    torch: _Word | None = None
    training_planes: dict[_Word, _Count] = Field({}, max_length=100)
    warnings: list[_Warning] = Field([], max_length=100)
    notes: list[_Sentence] = Field([], max_length=100)
    curves: _Curves | None = None

    def describe(self) -> dict[str, Any]:
        """Members of a model card: those that the record has, without ids, which mean nothing on another platform."""
        return self.model_dump(
            mode="json", exclude={"image_set", "tumour_class", "start_from", "seed"}, exclude_none=True
        )


def read_own_preset(metadata: Mapping[str, str]) -> Preset | None:
    """The preset that the metadata of a safetensors header names; None where the platform did not write the file.

    Raises:
        RecordUnreadable: it cannot be understood.
    """
    with _saying_what_is_wrong():
        preset = _read_facts(metadata).get("preset")
        return Preset.model_validate(preset) if preset is not None else None


def read_training(metadata: Mapping[str, str]) -> TrainingRecord | None:
    """The record in the metadata of a safetensors header; None where there is none.

    Raises:
        RecordUnreadable: it cannot be understood.
    """
    with _saying_what_is_wrong():
        training = _read_facts(metadata).get(TRAINING)
        return TrainingRecord.model_validate(training) if training is not None else None


def _read_facts(metadata: Mapping[str, str]) -> dict[str, Any]:
    facts = json.loads(metadata.get(FACTS, "{}"))
    if not isinstance(facts, dict):
        raise TypeError("facts are an object")
    return facts


@contextmanager
def _saying_what_is_wrong() -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, RecursionError) as error:
        raise RecordUnreadable(
            f"What this file says of itself, {FACTS!r} in the metadata of its header, cannot be read"
            f"{_name_field(error)}; save the tensors without that metadata, and name `preset` and `config`."
        ) from error


def _name_field(error: Exception) -> str:
    """For example ` (epochs)`: what was wrong first, where that is known and one of our own names."""
    if not isinstance(error, ValidationError):
        return ""
    place = ".".join(str(part) for part in error.errors()[0]["loc"])
    return f" ({place})" if place.isascii() and place and len(place) < 100 else ""
