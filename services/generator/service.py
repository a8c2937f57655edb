"""What the generator decides: checks a request against what is stored, submits its job, and does the job's work.

Torch is imported inside the functions that work, so that the api and an idle worker start light.
"""

import json
import secrets
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from services.generator.images import encode_png, enlarge_image
from services.generator.presets import Preset, SamplerName, TooManySteps, find_preset
from services.generator.settings import get_generator_settings
from services.generator.sources import (
    find_model,
    find_training_images,
    load_network,
    load_training_images,
    note_leakage,
    read_preset,
    set_threads,
)
from shared.artifacts.store import DraftArtifact, get_artifacts
from shared.errors import Conflict, InvalidInput
from shared.jobs.runner import Execution
from shared.jobs.submission import Accepted, Caller, submit
from shared.logs import get_log
from shared.settings import get_settings
from shared.tumour import TumourClass

DEFAULT_BATCH_SIZE: Final = 16
"""Images the network sees at once; on two cores more of them gain nothing, on a GPU a request can ask for more."""
BATCHES_PER_SHARD: Final = 2
_DRAWN_SEED_BITS: Final = 32

log = get_log(__name__)


class TooManyImages(InvalidInput):
    """More images than one request may ask for."""


class SizeTooSmall(InvalidInput):
    """Images smaller than the network draws them."""


class ImagesMissing(Conflict):
    """The shards did not draw each image exactly once."""


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


@dataclass(frozen=True)
class SamplingWishes:
    """What a request may say about how to sample; None leaves it to the model's preset."""

    model: str | None = None
    sampler: SamplerName | None = None
    steps: int | None = None
    seed: int | None = None
    size: int | None = None
    batch_size: int | None = None
    shard_size: int | None = None
    name: str | None = None


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


def start_generation(caller: Caller, tumour_class: TumourClass, n: int, wishes: SamplingWishes) -> Accepted:
    """Submit the drawing of `n` images of `tumour_class`, cut into shards.

    Raises:
        ModelNotFound, NotADiffusionModel, WrongTumourClass, TooManyImages, TooManySteps, SizeTooSmall: at once.
    """
    most = get_settings().generate_max_n
    if n > most:
        raise TooManyImages(f"n is {n}; one request may ask for at most {most} images.", maximum=most)
    model = find_model(caller.owner, tumour_class, wishes.model)
    manifest = get_artifacts().manifest(model)
    recipe = _resolve_sampling(read_preset(manifest), model.id, wishes)
    request = {
        "class": tumour_class.value,
        "n": n,
        "weights": manifest["objects"]["weights"],
        "name": wishes.name or f"{n} synthetic {tumour_class}",
        "recipe": recipe,
    }
    shard_size = wishes.shard_size or BATCHES_PER_SHARD * recipe["batch_size"]
    shards = [{"start": start, "stop": min(start + shard_size, n)} for start in range(0, n, shard_size)]
    return submit(caller, "diffusion.sample", request, shards=shards, total=n, unit="image")


def _resolve_sampling(preset: Preset, model_id: str, wishes: SamplingWishes) -> dict[str, Any]:
    """All that decides the pixels of an image but its index; stored with each image."""
    sampler = wishes.sampler or preset.sampler
    steps = wishes.steps or preset.steps_for(sampler)
    size = wishes.size or preset.size_px
    trained = preset.schedule.train_steps
    if steps > trained:
        raise TooManySteps(f"steps is {steps}; model {model_id} was trained on {trained} steps.", maximum=trained)
    if size < preset.size_px:
        raise SizeTooSmall(f"size is {size} px, but model {model_id} draws {preset.size_px} px; ask for that or more.")
    return {
        "model": model_id,
        "sampler": sampler,
        "steps": steps,
        "seed": secrets.randbits(_DRAWN_SEED_BITS) if wishes.seed is None else wishes.seed,
        "size": size,
        "batch_size": wishes.batch_size or DEFAULT_BATCH_SIZE,
    }


def draw_images(execution: Execution) -> dict[str, Any]:
    """Draw and store the images of one shard: `{"images": [{index, sha256, width, height}]}`."""
    from services.generator.network import choose_device
    from services.generator.samplers import build_sampler
    from services.generator.sampling import SamplingPlan, sample_images

    set_threads()
    recipe, spec = execution.request["recipe"], execution.spec
    network, preset = load_network(execution.request["weights"])
    sampler = build_sampler(recipe["sampler"], recipe["steps"], preset.schedule)
    indices = range(spec["start"], spec["stop"])
    plan = SamplingPlan(preset.size_px, preset.value_range, recipe["seed"], indices, recipe["batch_size"])
    size, images = recipe["size"], []
    for index, image_u8 in sample_images(network, sampler, plan, progress=execution.progress, device=choose_device()):
        sha256 = execution.objects.put_blob(encode_png(enlarge_image(image_u8, size)))
        images.append({"index": index, "sha256": sha256, "width": size, "height": size})
    return {"images": images}


def finish_generation(execution: Execution) -> list[DraftArtifact]:
    """The synthetic image set, from the images that the shards stored.

    Raises:
        ImagesMissing: an image is missing or was drawn twice.
    """
    request = execution.request
    n, tumour_class, recipe = request["n"], request["class"], request["recipe"]
    drawn = sorted((image for part in execution.results for image in part["images"]), key=lambda image: image["index"])
    if [image["index"] for image in drawn] != list(range(n)):
        raise ImagesMissing(f"{n} images were asked for, {len(drawn)} were drawn; retry the job.")
    digits = max(4, len(str(n)))
    images = [
        {
            "name": f"{tumour_class}/{tumour_class}_{image['index'] + 1:0{digits}d}.png",
            "class": tumour_class,
            "split": None,
            "plane": None,
            "sha256": image["sha256"],
            "width": image["width"],
            "height": image["height"],
            "source": None,
            "parameters": {**recipe, "index": image["index"]},
        }
        for image in drawn
    ]
    warnings = _name_twins(images)
    if warnings:
        log.warning("images_alike", job_id=execution.job_id, groups=len(warnings))
    body = {"images": images, "recipe": recipe, "seed": recipe["seed"], "warnings": warnings}
    summary = {"n_images": n, **recipe, "warnings": len(warnings)}
    parents = [recipe["model"]]
    return [DraftArtifact("image_set", "synthetic", request["name"], body, summary, tumour_class, parents)]


def _name_twins(images: list[dict[str, Any]]) -> list[str]:
    """A warning for each group of images with the same bytes: seeds differ, so the model gives nothing else."""
    counts = Counter(image["sha256"] for image in images)
    groups = [
        [image["name"] for image in images if image["sha256"] == sha] for sha, count in counts.items() if count > 1
    ]
    return [f"The same image {len(names)} times: {', '.join(names[:5])}." for names in groups]
