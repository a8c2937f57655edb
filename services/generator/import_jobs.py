"""Weights that come from elsewhere and go elsewhere: taking a file in, the job that makes it a model, and the zip out.

Torch is imported inside the function that works, so that the api starts light.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from services.generator.models.export import write_companions, write_zip
from services.generator.models.footprint import check_parameters
from services.generator.models.preset import Preset
from services.generator.models.presets import PRESETS, find_preset
from services.generator.models.training_record import LISTED, TrainingRecord, read_own_preset, read_training
from services.generator.models.weight_files import Header, read_header
from services.generator.sources import get_diffusion_model, read_preset
from shared.artifacts.store import DraftArtifact, get_artifacts
from shared.errors import InvalidInput, NotFound, TooLarge
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


class PresetUnclear(InvalidInput):
    """Neither the request nor the file says which preset the weights belong to."""


class ConfigUnreadable(InvalidInput):
    """The `config` of an import is no JSON object."""


@dataclasses.dataclass(frozen=True)
class ImportWishes:
    """What a request says of the weights it brings; `config` is JSON with the fields of the preset that differ.

    Without `preset` it is the one that the file names.
    """

    preset: str | None = None
    tumour_class: TumourClass | None = None
    config: str | None = None
    name: str | None = None


def start_import(caller: Caller, file: BinaryIO, file_name: str, wishes: ImportWishes) -> Accepted:
    """Store a file of weights and submit the job that makes it a diffusion model.

    Raises:
        PresetUnknown, PresetUnclear, PresetValueInvalid, PresetTooLarge, ConfigUnreadable, ClassUnclear,
        WeightsTooLarge, CheckpointIsPickle, NotSafetensors, RecordUnreadable: at once.
    """
    limit, size_bytes = get_settings().import_max_bytes, file.seek(0, io.SEEK_END)
    if size_bytes > limit:
        raise WeightsTooLarge(f"The file has {size_bytes} bytes; an import may have {limit}.", limit=limit)
    file.seek(0)
    header = read_header(file, size_bytes)
    preset, training = _choose_preset(wishes, header), read_training(header.metadata)
    tumour_class = _choose_class(wishes, training, preset)
    check_parameters(preset.unet)
    sha256 = _hash(file)
    get_objects().put_blob_file(file, sha256, size_bytes)
    request = {
        "class": tumour_class,
        "preset": preset.model_dump(mode="json"),
        "weights": sha256,
        "file": {"name": file_name[:200], "size_bytes": size_bytes, "n_tensors": len(header.tensors)},
        "parents": _find_parents(caller.owner, training),
        "name": wishes.name or f"imported {tumour_class or ' + '.join(preset.classes)} {preset.size_px} px",
    }
    # Of a multipart body the door knows no hash; the file's own says as much.
    asked = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
    return submit(dataclasses.replace(caller, request_hash=asked), "diffusion.import", request)


def _choose_preset(wishes: ImportWishes, header: Header) -> Preset:
    """The preset that the request names, or the file, with all that the request changes."""
    preset = find_preset(wishes.preset) if wishes.preset is not None else read_own_preset(header.metadata)
    if preset is None:
        raise PresetUnclear(
            "The file does not say which network its weights are of: name the `preset` it was trained with, one of "
            f"{', '.join(PRESETS)}, and in `config` what differs from it.",
            valid=list(PRESETS),
        )
    return preset.replace(_read_config(wishes.config))


def _choose_class(wishes: ImportWishes, training: TrainingRecord | None, preset: Preset) -> TumourClass | None:
    """The one class that the model draws: what the request says, or the file; None of a class-conditional one."""
    trained = training.tumour_class if training is not None else None
    tumour_class = wishes.tumour_class or trained
    if bool(preset.classes) == (tumour_class is not None):
        raise ClassUnclear(
            "Say what the model draws: `class` for a model of one class, or `classes` in `config`, in the order of "
            "their numbers, for a class-conditional one; not both."
        )
    if trained not in (None, tumour_class):
        raise ClassUnclear(f"The file says that its network learned {trained}, not {tumour_class}: leave `class` out.")
    return tumour_class


def _find_parents(owner: str, training: TrainingRecord | None) -> list[str]:
    """Set and model that a file names as those it was trained on and begun with, if `owner` has them here."""
    named = [] if training is None else [(training.image_set, "image_set"), (training.start_from, "model")]
    found = []
    for artifact_id, noun in named:
        if artifact_id is not None:
            with contextlib.suppress(NotFound):
                found.append(get_artifacts().get(artifact_id, owner, noun).id)
    return found


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
    data = execution.objects.get_blob(request["weights"])
    training = read_training(read_header(io.BytesIO(data), len(data)).metadata)
    tensors = read_weights(data)
    weights = fit_weights(tensors, preset)
    imported = {
        "file": request["file"]["name"],
        "sha256": request["weights"],
        "size_bytes": request["file"]["size_bytes"],
        "n_renamed": sum(modern_name(name) != name for name in tensors),
    }
    parents = request.get("parents", [])  # An older version's request has none.
    card: dict[str, Any] = training.describe() if training is not None else {}
    card["imported"] = imported
    card["parameters"] = sum(tensor.numel() for tensor in weights.values())
    card["notes"] = [*_note_origin(training, parents), *card.get("notes", [])]
    body: dict[str, Any] = {
        "objects": {"weights": execution.objects.put_blob(write_weights(weights, preset))},
        "config": {
            "class": request["class"],
            "classes": list(preset.classes),
            "size_px": preset.size_px,
            "preset": request["preset"],
        },
        "card": card,
        "seed": training.seed if training is not None else None,
    }
    listed = {name: card[name] for name in LISTED if name in card}
    summary = {"preset": preset.name, "size_px": preset.size_px, **listed, "imported": True}
    if preset.classes:
        summary["classes"] = list(preset.classes)
    return [DraftArtifact("model", "diffusion", request["name"], body, summary, request["class"], parents)]


def _note_origin(training: TrainingRecord | None, parents: list[str]) -> list[str]:
    """Sentences for the card: who says how the model was trained, and whether its images are here."""
    if training is None:
        return ["Imported: what it was trained on, and how, is not known to this platform."]
    notes = ["Imported: of the training this card says what the file said of itself; it was not made here."]
    if training.image_set is not None and training.image_set not in parents:
        notes.append(f"The file names {training.image_set} as the set it was trained on, which is not yours here.")
    return notes


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
