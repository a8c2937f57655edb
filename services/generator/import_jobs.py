"""Weights that come from elsewhere and go elsewhere: taking a file in, the job that makes it a model, and the zip out.

Torch is imported inside the function that works, so that the api starts light.
"""

import dataclasses
import hashlib
import io
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from services.generator.models.export import write_companions, write_zip
from services.generator.models.footprint import check_parameters
from services.generator.models.preset import Preset
from services.generator.models.presets import find_preset
from services.generator.models.weight_files import read_header
from services.generator.sources import get_diffusion_model, read_preset
from shared.artifacts.store import DraftArtifact, get_artifacts
from shared.errors import InvalidInput, TooLarge
from shared.jobs.runner import Execution
from shared.jobs.submission import Accepted, Caller, submit
from shared.objects import get_objects
from shared.settings import get_settings
from shared.tumour import TumourClass

_PIECE_BYTES: Final = 1024 * 1024


class WeightsTooLarge(TooLarge):
    """The file has more bytes than an import may have."""


class ClassUnclear(InvalidInput):
    """An imported model needs one class, or the classes of a class-conditional network, and not both."""


class ConfigUnreadable(InvalidInput):
    """The `config` of an import is no JSON object."""


@dataclasses.dataclass(frozen=True)
class ImportWishes:
    """What a request says of the weights it brings; `config` is JSON with the fields of the preset that differ."""

    preset: str
    tumour_class: TumourClass | None = None
    config: str | None = None
    name: str | None = None


def start_import(caller: Caller, file: BinaryIO, file_name: str, wishes: ImportWishes) -> Accepted:
    """Store a file of weights and submit the job that makes it a diffusion model.

    Raises:
        PresetUnknown, PresetValueInvalid, PresetTooLarge, ConfigUnreadable, ClassUnclear, WeightsTooLarge,
        CheckpointIsPickle, NotSafetensors: at once.
    """
    preset = find_preset(wishes.preset).replace(_read_config(wishes.config))
    check_parameters(preset.unet)
    if bool(preset.classes) == (wishes.tumour_class is not None):
        raise ClassUnclear(
            "Say what the model draws: `class` for a model of one class, or `classes` in `config`, in the order of "
            "their numbers, for a class-conditional one; not both."
        )
    limit, size_bytes = get_settings().import_max_bytes, file.seek(0, io.SEEK_END)
    if size_bytes > limit:
        raise WeightsTooLarge(f"The file has {size_bytes} bytes; an import may have {limit}.", limit=limit)
    file.seek(0)
    n_tensors = len(read_header(file, size_bytes))
    sha256 = _hash(file)
    get_objects().put_blob_file(file, sha256, size_bytes)
    request = {
        "class": wishes.tumour_class,
        "preset": preset.model_dump(mode="json"),
        "weights": sha256,
        "file": {"name": file_name[:200], "size_bytes": size_bytes, "n_tensors": n_tensors},
        "name": wishes.name or f"imported {wishes.tumour_class or ' + '.join(preset.classes)} {preset.size_px} px",
    }
    # Of a multipart body the door knows no hash; the file's own says as much.
    asked = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
    return submit(dataclasses.replace(caller, request_hash=asked), "diffusion.import", request)


def _hash(file: BinaryIO) -> str:
    """SHA-256 of a whole file, read in pieces."""
    digest = hashlib.sha256()
    file.seek(0)
    while piece := file.read(_PIECE_BYTES):
        digest.update(piece)
    return digest.hexdigest()


def _read_config(text: str | None) -> dict[str, Any]:
    try:
        config = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise ConfigUnreadable(
            '`config` must be a JSON object, for example {"size_px": 64, "unet": {"res_blocks": 2}}.'
        )
    config.pop("name", None)  # of an export's preset; this one is the preset's own
    return config


def finish_import(execution: Execution) -> list[DraftArtifact]:
    """The model that the imported weights are.

    Raises:
        TensorsDoNotFit, WeightsNotFinite, NotSafetensors: the file cannot be used.
    """
    from services.generator.models.checkpoints import write_weights
    from services.generator.models.interchange import fit_weights, modern_name, read_weights

    request = execution.request
    preset = Preset.model_validate(request["preset"])
    tensors = read_weights(execution.objects.get_blob(request["weights"]))
    weights = fit_weights(tensors, preset)
    imported = {
        "file": request["file"]["name"],
        "sha256": request["weights"],
        "size_bytes": request["file"]["size_bytes"],
        "n_renamed": sum(modern_name(name) != name for name in tensors),
    }
    parameters = sum(tensor.numel() for tensor in weights.values())
    body = {
        "objects": {"weights": execution.objects.put_blob(write_weights(weights, preset))},
        "config": {
            "class": request["class"],
            "classes": list(preset.classes),
            "size_px": preset.size_px,
            "preset": request["preset"],
        },
        "card": {
            "imported": imported,
            "parameters": parameters,
            "notes": ["Imported: what it was trained on, and how, is not known to this platform."],
        },
    }
    summary = {"preset": preset.name, "size_px": preset.size_px, "parameters": parameters, "imported": True}
    if preset.classes:
        summary["classes"] = list(preset.classes)
    return [DraftArtifact("model", "diffusion", request["name"], body, summary, request["class"])]


def stream_export(owner: str, model_id: str) -> Iterator[bytes]:
    """A stored zip of a diffusion model's weights and of what MONAI needs to use them.

    Raises:
        ModelNotFound, NotADiffusionModel, ObjectNotFound: before the first bytes.
        ObjectDamaged, StorageUnavailable: later; the zip breaks off without its directory, so no reader takes it.
    """
    model = get_diffusion_model(owner, model_id)
    manifest = get_artifacts().manifest(model)
    files = write_companions(read_preset(manifest), model.id, model.name)
    objects, weights = get_objects(), manifest["objects"]["weights"]
    return write_zip(files, "weights.safetensors", objects.blob_size(weights), objects.stream_blob(weights))
