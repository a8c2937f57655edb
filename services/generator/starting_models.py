"""The model whose weights a training begins with, in place of weights of chance.

Torch is imported inside the function that works, so that the api starts light.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from services.generator.models.preset import Preset
from services.generator.sources import get_diffusion_model, read_preset
from shared.artifacts.store import get_artifacts
from shared.errors import InvalidInput
from shared.jobs.runner import Execution
from shared.tumour import TumourClass

if TYPE_CHECKING:
    from torch import Tensor

_SAME: Final = ("unet", "schedule", "classes", "value_range", "transpose")
"""Fields of the preset that the weights were learned for: with another value they would have to be unlearned."""


class StartingModelDiffers(InvalidInput):
    """The training asked for does not fit the weights it should begin with."""


@dataclass(frozen=True)
class StartingModel:
    """A model to begin with: its artifact's id, its preset, the hash of its weights and the one class it draws."""

    model: str
    preset: Preset
    weights_sha256: str
    tumour_class: str | None


def find_starting_model(owner: str, model_id: str) -> StartingModel:
    """The diffusion model with this id: the owner's, or the one that came with the platform.

    Raises:
        ModelNotFound, NotADiffusionModel: there is none.
    """
    model = get_diffusion_model(owner, model_id)
    manifest = get_artifacts().manifest(model)
    return StartingModel(model.id, read_preset(manifest), manifest["objects"]["weights"], model.tumour_class)


def check_start(start: StartingModel, preset: Preset, tumour_class: TumourClass | None) -> None:
    """Return if a training of `preset` can begin with the weights of `start`.

    Another class is welcome where the network knows one only: what a head looks like is learned already.

    Raises:
        StartingModelDiffers: network, schedule, classes or the meaning of the gray levels are others.
    """
    if start.preset.classes and tumour_class is not None:
        raise StartingModelDiffers(
            f"Model {start.model} is told which of {', '.join(start.preset.classes)} to draw, so a training that "
            "begins with it learns all of them: leave `class` out.",
            classes=list(start.preset.classes),
        )
    if not start.preset.classes and tumour_class is None:
        raise StartingModelDiffers(
            f"Model {start.model} draws {start.tumour_class} only, so a training that begins with it learns one class: "
            "name the `class`."
        )
    differing = [field for field in _SAME if getattr(start.preset, field) != getattr(preset, field)]
    if differing:
        raise StartingModelDiffers(
            f"Model {start.model} was trained with another {' and '.join(differing)}: leave out `preset` and these "
            "`overrides`, then the training has those of the model.",
            differing=differing,
        )


def load_start(execution: Execution, request: dict[str, Any]) -> "dict[str, Tensor] | None":
    """The weights that the training of `request` begins with, as `train_model` takes them; None: weights of chance."""
    if request.get("start_from") is None:
        return None
    from services.generator.models.checkpoints import read_tensors

    tensors, _ = read_tensors(execution.objects.get_blob(request["start_from"]["weights"]))
    return tensors
