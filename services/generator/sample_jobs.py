"""What a drawing of images is asked for, and the work of its job.

Torch is imported inside the functions that work, so that the api and an idle worker start light.
"""

import secrets
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from services.generator.images import encode_png, enlarge_image
from services.generator.preset import Preset, SamplerName, TooManySteps
from services.generator.sources import find_model, load_network, read_preset, set_threads
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
