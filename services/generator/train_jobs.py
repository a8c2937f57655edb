"""What a training of a diffusion model is asked for, and the work of its job.

Torch is imported inside the functions that work, so that the api and an idle worker start light.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from services.generator.corrections import keep_corrections
from services.generator.memory import held_memory
from services.generator.models.footprint import check_footprint
from services.generator.models.preset import Preset, PresetValueInvalid
from services.generator.models.presets import DEFAULT_PRESET, find_preset
from services.generator.settings import get_generator_settings
from services.generator.sources import find_training_images, load_training_data, note_leakage, set_threads
from services.generator.starting_models import StartingModel, check_start, find_starting_model, load_start
from services.generator.training.data import TrainingPlan, plan_training
from shared.artifacts.patients import corrected_images, find_patients_named_since
from shared.artifacts.store import DraftArtifact, get_artifacts
from shared.database import get_database
from shared.errors import InvalidInput
from shared.jobs.runner import Execution
from shared.jobs.store import JobStore
from shared.jobs.submission import Accepted, Caller, submit
from shared.logs import get_log
from shared.tumour import CLASS_ORDER, TumourClass

if TYPE_CHECKING:
    from services.generator.training.trained_model import TrainedModel

log = get_log(__name__)


class TooFewClasses(InvalidInput):
    """A class-conditional model needs at least two classes to tell apart."""


@dataclass(frozen=True)
class TrainingWishes:
    """What a request may say about a training; None leaves it to the preset.

    `overrides` are fields of the preset, by name, where None is a value too; the others win over them.
    """

    preset: str | None = None
    start_from: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    size: int | None = None
    ema_decay: float | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    name: str | None = None
    leakage_waiver: str | None = None


def start_training(
    caller: Caller, image_set: str, tumour_class: TumourClass | None, wishes: TrainingWishes
) -> Accepted:
    """Submit the training of one class's diffusion model, or of a class-conditional one if `tumour_class` is None.

    Raises:
        ImageSetNotFound, ImageSetNotPreprocessed, PresetUnknown, PresetValueInvalid, PresetTooLarge, TooFewImages,
        TooFewClasses, KnownLeakage, ModelNotFound, NotADiffusionModel, StartingModelDiffers: at once.
    """
    start = find_starting_model(caller.owner, wishes.start_from) if wishes.start_from is not None else None
    artifact = get_artifacts().get(image_set, caller.owner, "image_set")
    training_images, manifest = find_training_images(artifact), get_artifacts().manifest(artifact)
    corrected = corrected_images(get_artifacts(), get_database(), artifact, manifest)
    corrections = keep_corrections(training_images, corrected)
    images = find_training_images(artifact, corrections)
    preset = choose_preset(wishes, start, tumour_class, images)
    classes = list(preset.classes) if tumour_class is None else [tumour_class]
    plan = plan_training(images, classes, preset, wishes.seed)
    crossing = find_patients_named_since(corrected, manifest)
    note_leakage(artifact, wishes.leakage_waiver, crossing)
    what = tumour_class or " + ".join(preset.classes)
    request = {
        "image_set": artifact.id,
        "corrections": corrections,
        "class": tumour_class,
        "preset": preset.model_dump(mode="json"),
        "seed": wishes.seed,
        "name": wishes.name or f"{what} {preset.name} {preset.size_px} px",
        "leakage_waiver": wishes.leakage_waiver,
        "crossing_patients": crossing,
        "n_images": len(plan.training),
        "start_from": {"model": start.model, "weights": start.weights_sha256} if start is not None else None,
    }
    return submit(caller, "diffusion.train", request, total=preset.count_updates(len(plan.training)), unit="step")


def choose_preset(
    wishes: TrainingWishes,
    start: StartingModel | None,
    tumour_class: TumourClass | None,
    images: Sequence[dict[str, Any]],
) -> Preset:
    """The preset of a training, with all that the request leaves open decided.

    Args:
        wishes: what the request says.
        start: the model that `wishes.start_from` names.
        tumour_class: the class to learn; None: one class-conditional network.
        images: that there are to learn from, members of a manifest.

    Raises:
        PresetUnknown, PresetValueInvalid, PresetTooLarge, TooFewClasses, StartingModelDiffers: it cannot be made.
    """
    preset = _resolve_preset(wishes, start)
    if start is not None:
        check_start(start, preset, tumour_class)
    preset = _choose_classes(preset, tumour_class, images)
    _check_guidance(preset)
    check_footprint(preset)
    return preset


def _resolve_preset(wishes: TrainingWishes, start: StartingModel | None) -> Preset:
    """The preset, or without one that of the model to begin with, with all that the request changes."""
    if "name" in wishes.overrides:
        raise PresetValueInvalid(
            "The preset's name stays with it; the field `name` beside `overrides` names the model."
        )
    if wishes.preset is None and start is not None:
        preset = start.preset
    else:
        preset = find_preset(wishes.preset or DEFAULT_PRESET)
    return preset.replace(wishes.overrides).override(
        epochs=wishes.epochs,
        batch_size=wishes.batch_size,
        learning_rate=wishes.learning_rate,
        size_px=wishes.size,
        ema_decay=wishes.ema_decay,
    )


def _choose_classes(preset: Preset, tumour_class: TumourClass | None, images: Sequence[dict[str, Any]]) -> Preset:
    """The preset with the classes of a class-conditional model: those it names, else all that occur in `images`.

    Raises:
        PresetValueInvalid: one class is asked for, and several.
        TooFewClasses: there is only one.
    """
    if tumour_class is not None:
        if preset.classes:
            raise PresetValueInvalid("Ask for one `class`, or for several `classes` of one model, not for both.")
        return preset
    if preset.classes:
        return preset
    present = {image.get("class") for image in images}
    classes = [each for each in CLASS_ORDER if each in present]
    if len(classes) < 2:
        raise TooFewClasses(
            f"Without a `class` one model learns all classes of the set, but split Training has only "
            f"{len(classes)} ({', '.join(classes) or 'none'}); name the `class` to train a model of it.",
            classes=classes,
        )
    return preset.replace({"classes": classes})


def _check_guidance(preset: Preset) -> None:
    """Return if the network, whose classes are known by now, can be guided as much as `preset` says.

    Raises:
        PresetValueInvalid: it knows one class, or is always told which.
    """
    if preset.guidance > 1 and not (preset.classes and preset.class_dropout):
        reason = "class_dropout above 0" if preset.classes else "a model of several classes: leave `class` out"
        raise PresetValueInvalid(f"guidance of {preset.guidance:g} needs {reason}; 1 is none.")


def finish_training(execution: Execution) -> list[DraftArtifact]:
    """Train the model that `start_training` asked for, going on from the job's resume bundle if there is one."""
    from services.generator.training.loop import train_model

    n_threads = set_threads()
    request = execution.request
    preset = Preset.model_validate(request["preset"])
    image_set = execution.artifacts.get(request["image_set"], execution.owner, "image_set")
    # An older version's request has none of these.
    notes = note_leakage(image_set, request.get("leakage_waiver"), request.get("crossing_patients", ()))
    images = find_training_images(image_set, request.get("corrections"))
    plan = plan_training(images, classes_of(request, preset), preset, request["seed"])
    if plan.warnings:
        execution.progress.note(warnings=", ".join(sorted({warning.code for warning in plan.warnings})))
    data = load_training_data(execution, images, plan, preset)
    resume = execution.load_resume()
    log.info("training_started", n_images=len(plan.training), preset=preset.name, resumed=resume is not None)
    with held_memory():
        model = train_model(
            data,
            preset,
            seed=request["seed"],
            progress=execution.progress,
            save=execution.save_resume,
            save_every_s=get_generator_settings().checkpoint_every_s,
            start=load_start(execution, request),
            resume=resume,
            publish=execution.publish,
            compiled=get_generator_settings().compile_networks,
        )
    described = {**describe_images(images, plan), "threads": n_threads, "notes": notes}
    files = {file["name"]: file["sha256"] for file in JobStore(get_database()).get(execution.job_id, None)["files"]}
    request = {**request, "n_images": len(plan.training)}  # An older version's request does not say it.
    return [draft_model(execution, request, model, described, files)]


def classes_of(request: dict[str, Any], preset: Preset) -> list[TumourClass]:
    """The classes that the model of a training's request learns."""
    return list(preset.classes) or [TumourClass(request["class"])]


def describe_images(images: Sequence[dict[str, Any]], plan: TrainingPlan) -> dict[str, Any]:
    """What the model card says of the images: how many of which plane, and the warnings."""
    planes = Counter(f"{images[i]['class']}, {images[i].get('plane') or 'unknown'}" for i in plan.training)
    return {
        "n_held_out": len(plan.held_out),
        "training_planes": dict(sorted(planes.items())),
        "warnings": [asdict(warning) for warning in plan.warnings],
    }


def draft_model(
    execution: Execution,
    request: dict[str, Any],
    model: "TrainedModel",
    described: dict[str, Any],
    files: dict[str, str],
) -> DraftArtifact:
    """The model artifact of a training.

    Args:
        execution: of the job that stores it.
        request: of the training.
        model: what was learned.
        described: further members of the card.
        files: hashes of the files that the training published, by name.
    """
    from services.generator.models.checkpoints import write_weights

    preset, put = Preset.model_validate(request["preset"]), execution.objects.put_blob
    losses = model.curves["loss"]
    facts = {
        "n_images": request["n_images"],
        "epochs": len(losses),
        "updates": model.n_updates,
        "parameters": model.n_parameters,
        "final_loss": losses[-1] if losses else None,
        "seconds": round(model.seconds, 3),
        "images_per_s": round(model.images_per_s, 2),
        "precision": model.precision,
    }
    sets = {f"{kind}_weights": put(write_weights(weights, preset)) for kind, weights in model.weights.items()}
    tumour_class = request["class"]
    corrections = {"corrections": request["corrections"]} if request.get("corrections") else {}
    body: dict[str, Any] = {
        "objects": {"weights": sets[f"{model.chosen}_weights"], **sets, **files, **corrections},
        "config": {
            "class": tumour_class,
            "classes": list(preset.classes),
            "size_px": preset.size_px,
            "preset": preset.model_dump(mode="json"),
        },
        "card": {**facts, "chosen_weights": model.chosen, **described, "curves": model.curves},
        "seed": request["seed"],
    }
    start = request.get("start_from")
    if start is not None:
        body["card"]["start_from"] = start
    summary = {"preset": preset.name, "size_px": preset.size_px, **facts}
    if preset.classes:
        summary["classes"] = list(preset.classes)
    parents = [request["image_set"]] + ([start["model"]] if start is not None else [])
    return DraftArtifact("model", "diffusion", request["name"], body, summary, tumour_class, parents)
