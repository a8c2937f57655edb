"""What a training of a diffusion model is asked for, and the work of its job.

Torch is imported inside the functions that work, so that the api and an idle worker start light.
"""

import json
from dataclasses import dataclass

from services.generator.preset import Preset
from services.generator.presets import find_preset
from services.generator.settings import get_generator_settings
from services.generator.sources import find_training_images, load_training_images, note_leakage, set_threads
from shared.artifacts.store import DraftArtifact, get_artifacts
from shared.jobs.runner import Execution
from shared.jobs.submission import Accepted, Caller, submit
from shared.logs import get_log
from shared.tumour import TumourClass

log = get_log(__name__)


@dataclass(frozen=True)
class TrainingWishes:
    """What a request may say about a training; None leaves it to the preset."""

    preset: str
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    size: int | None = None
    ema_decay: float | None = None
    seed: int = 0
    name: str | None = None
    leakage_waiver: str | None = None


def start_training(caller: Caller, image_set: str, tumour_class: TumourClass, wishes: TrainingWishes) -> Accepted:
    """Submit the training of one class's diffusion model.

    Raises:
        ImageSetNotFound, ImageSetNotPreprocessed, PresetUnknown, PresetValueInvalid, TooFewImages,
        KnownLeakage: at once.
    """
    preset = find_preset(wishes.preset).override(
        epochs=wishes.epochs,
        batch_size=wishes.batch_size,
        learning_rate=wishes.learning_rate,
        size_px=wishes.size,
        ema_decay=wishes.ema_decay,
    )
    artifact = get_artifacts().get(image_set, caller.owner, "image_set")
    n_images = len(find_training_images(artifact, tumour_class))
    note_leakage(artifact, wishes.leakage_waiver)
    request = {
        "image_set": artifact.id,
        "class": tumour_class.value,
        "preset": preset.model_dump(mode="json"),
        "seed": wishes.seed,
        "name": wishes.name or f"{tumour_class} {preset.name} {preset.size_px} px",
        "leakage_waiver": wishes.leakage_waiver,
    }
    return submit(caller, "diffusion.train", request, total=preset.count_updates(n_images), unit="step")


def finish_training(execution: Execution) -> list[DraftArtifact]:
    """Train the model that `start_training` asked for, going on from the job's resume bundle if there is one."""
    from services.generator.checkpoints import write_weights
    from services.generator.training import train_model

    n_threads = set_threads()
    request, put = execution.request, execution.objects.put_blob
    preset, tumour_class = Preset.model_validate(request["preset"]), TumourClass(request["class"])
    image_set = execution.artifacts.get(request["image_set"], execution.owner, "image_set")
    notes = note_leakage(image_set, request.get("leakage_waiver"))
    images_u8 = load_training_images(execution, find_training_images(image_set, tumour_class), preset)
    resume = execution.load_resume()
    log.info("training_started", n_images=len(images_u8), preset=preset.name, resumed=resume is not None)
    model = train_model(
        images_u8,
        preset,
        seed=request["seed"],
        progress=execution.progress,
        save=execution.save_resume,
        save_every_s=get_generator_settings().checkpoint_every_s,
        resume=resume,
    )
    facts = {
        "n_images": len(images_u8),
        "epochs": preset.epochs,
        "parameters": model.n_parameters,
        "final_loss": model.epoch_losses[-1],
        "seconds": round(model.seconds, 3),
        "images_per_s": round(model.images_per_s, 2),
        "precision": model.precision,
    }
    body = {
        "objects": {
            "weights": put(write_weights(model.weights, preset)),
            "raw_weights": put(write_weights(model.raw_weights, preset)),
            "loss_curve.json": put(json.dumps(model.epoch_losses).encode()),
        },
        "config": {"class": tumour_class.value, "size_px": preset.size_px, "preset": preset.model_dump(mode="json")},
        "card": {**facts, "epoch_losses": model.epoch_losses, "threads": n_threads, "notes": notes},
        "seed": request["seed"],
    }
    summary = {"preset": preset.name, "size_px": preset.size_px, **facts}
    return [DraftArtifact("model", "diffusion", request["name"], body, summary, tumour_class.value, [image_set.id])]
