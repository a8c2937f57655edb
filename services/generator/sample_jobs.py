"""The drawing of images: a request, with all it leaves open decided, and the work of its job.

Torch is imported inside the functions that work, so that the api and an idle worker start light.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from services.generator.memory import held_memory
from services.generator.models.footprint import check_drawing
from services.generator.sampling.outputs import ENDINGS, ImageUnit, encode_drawing
from services.generator.sampling.recipe import SamplingRecipe, SamplingWishes, resolve_recipe
from services.generator.sources import (
    find_model,
    load_network,
    newest_calibration,
    read_precision,
    read_preset,
    set_threads,
)
from shared.artifacts.store import Artifact, DraftArtifact, get_artifacts
from shared.errors import Conflict, InvalidInput
from shared.jobs.runner import Execution
from shared.jobs.submission import Accepted, Caller, submit
from shared.logs import get_log
from shared.settings import get_settings
from shared.tumour import TumourClass

BATCHES_PER_SHARD: Final = 4
"""Batches in one shard, when a request does not say."""
MAX_EVALUATIONS: Final = 4000
"""Images times steps in one shard, unless one batch has more: some 40 s of the `compact` network on two cores. Others'
jobs get their turn between shards, and a worker that stops loses no more than one."""

log = get_log(__name__)


class TooManyImages(InvalidInput):
    """More images than one request may ask for."""


class ImagesMissing(Conflict):
    """The shards did not draw each image exactly once."""


class NotGenerated(InvalidInput):
    """The image set was not generated here, so there is no recipe to draw by."""


class NothingToAdd(InvalidInput):
    """The set to extend has as many images already."""


class ImagesExcluded(InvalidInput):
    """Images were left out of the set, so the new ones could not be told by their number from those."""


class ExtensionDiffers(InvalidInput):
    """A set is extended with its own recipe, and the request says otherwise."""


def start_generation(
    caller: Caller,
    tumour_class: TumourClass,
    n: int,
    wishes: SamplingWishes,
    *,
    extend: str | None = None,
    shard_size: int | None = None,
    name: str | None = None,
) -> Accepted:
    """Submit the drawing of `n` images of `tumour_class`, cut into shards.

    Args:
        caller: who asks.
        tumour_class: what to draw.
        n: how many images the set will have.
        wishes: how to draw them.
        extend: id of a synthetic set whose images are the first of the new one, and are not drawn again.
        shard_size: images that one worker takes at a time; fewer if those would be much work.
        name: of the new set.

    Raises:
        ModelNotFound, NotADiffusionModel, WrongTumourClass, TooManyImages, TooManySteps, SizeTooSmall, StudySizeFixed,
        GuidanceNeedsClasses, GuidanceIntervalEmpty, BatchDoesNotFit, ImageSetNotFound, NotGenerated, NothingToAdd,
        ExtensionDiffers, ImagesExcluded: at once.
    """
    most = get_settings().generate_max_n
    if n > most:
        raise TooManyImages(f"n is {n}; one request may ask for at most {most} images.", maximum=most)
    if extend is None:
        first, model = 0, find_model(caller.owner, tumour_class, wishes.model)
        recipe = _resolve(model, wishes)
    else:
        first, recipe = _continue_set(caller.owner, tumour_class, n, wishes, extend)
        model = get_artifacts().get(recipe.model, caller.owner, "model")
    request = {
        "class": tumour_class.value,
        "n": n,
        "weights": get_artifacts().manifest(model)["objects"]["weights"],
        "name": name or f"{n} synthetic {tumour_class}",
        "recipe": recipe.model_dump(),
        "quality": wishes.quality,
        "extend": extend,
    }
    shards = cut_shards(range(first, n), recipe, shard_size)
    return submit(caller, "diffusion.sample", request, shards=shards, total=n - first, unit="image")


def cut_shards(indices: Sequence[int], recipe: SamplingRecipe, at_most: int | None = None) -> list[dict[str, Any]]:
    """Shards of `indices`: as many images as `at_most` says, else BATCHES_PER_SHARD; fewer where that is much work.

    Much is more than MAX_EVALUATIONS of the network and more than one batch. Small shards let jobs take turns soon, and
    a worker that is killed loses little.
    """
    per_image = recipe.steps * (1 if recipe.guidance == 1 else 2)  # Guidance asks the network twice.
    n_batches = max(1, MAX_EVALUATIONS // (per_image * recipe.batch_size))
    size = min(n_batches * recipe.batch_size, at_most or BATCHES_PER_SHARD * recipe.batch_size)
    return [{"indices": list(indices[start : start + size])} for start in range(0, len(indices), size)]


def _resolve(model: Artifact, wishes: SamplingWishes) -> SamplingRecipe:
    manifest = get_artifacts().manifest(model)
    preset = read_preset(manifest)
    calibration = newest_calibration(model) if wishes.quality is not None else None
    recipe = resolve_recipe(
        preset,
        model.id,
        wishes,
        trained_precision=read_precision(manifest),
        calibrated=calibration["choices"] if calibration else None,
    )
    check_drawing(preset, recipe.batch_size, guided=recipe.guidance != 1)
    return recipe


def _continue_set(
    owner: str, tumour_class: TumourClass, n: int, wishes: SamplingWishes, extend: str
) -> tuple[int, SamplingRecipe]:
    """How many images the set has, and the recipe of all of them."""
    image_set = get_artifacts().get(extend, owner, "image_set")
    recipe, manifest = read_recipe(image_set), get_artifacts().manifest(image_set)
    if excluded := manifest.get("excluded"):
        raise ImagesExcluded(
            f"{len(excluded)} images were left out of image set {extend}, so it cannot be extended; extend the set "
            "that it was made from, then leave them out again.",
            images=[image["name"] for image in excluded[:100]],
        )
    if wishes.quality is not None:
        raise ExtensionDiffers(
            f"Image set {extend} is extended with its own recipe, {recipe.sampler} in {recipe.steps} steps; leave "
            "quality out, since what it stands for changes with each calibration.",
            recipe=recipe.model_dump(),
        )
    asked = {field: value for field, value in vars(wishes).items() if value is not None}
    if image_set.tumour_class != tumour_class:
        raise ExtensionDiffers(f"Image set {extend} is of {image_set.tumour_class}, the request of {tumour_class}.")
    differing = [field for field, value in asked.items() if getattr(recipe, field) != value]
    if differing:
        raise ExtensionDiffers(
            f"Image set {extend} is extended with its own recipe, and the request differs in {', '.join(differing)}; "
            "leave them out, or generate a set of its own.",
            recipe=recipe.model_dump(),
        )
    n_images = len(manifest["images"])
    if n <= n_images:
        raise NothingToAdd(
            f"Image set {extend} has {n_images} images already; n counts those of the new set and must be more."
        )
    return n_images, recipe


def read_recipe(image_set: Artifact) -> SamplingRecipe:
    """The recipe of all images of a generated set.

    Raises:
        NotGenerated: the set has none.
    """
    recipe = get_artifacts().manifest(image_set).get("recipe") if image_set.kind == "synthetic" else None
    if recipe is None:
        raise NotGenerated(
            f"Image set {image_set.id} ({image_set.kind}) was not made by POST /generate, so nothing says how to draw "
            "its images."
        )
    return SamplingRecipe.model_validate(recipe)


def read_indices(spec: dict[str, Any]) -> Sequence[int]:
    """The images of a shard; jobs of version 0.1 named the first and the one after the last."""
    return spec["indices"] if "indices" in spec else range(spec["start"], spec["stop"])


def draw_images(execution: Execution) -> dict[str, Any]:
    """Draw and store the images of one shard: `{"images": [{index, sha256, width, height}]}`."""
    from services.generator.models.network import choose_device
    from services.generator.sampling.delivery import Delivery
    from services.generator.sampling.drawing import SamplingPlan, sample_unit_images
    from services.generator.sampling.guidance import choose_class
    from services.generator.sampling.samplers import build_sampler

    set_threads()
    request, indices = execution.request, read_indices(execution.spec)
    recipe = SamplingRecipe.model_validate(request["recipe"])
    network, preset = load_network(request["weights"])
    drawer = choose_class(network, preset, TumourClass(request["class"]), recipe)
    sampler = build_sampler(recipe.sampler, recipe.steps, preset.schedule)
    plan = SamplingPlan(
        preset.size_px, preset.value_range, recipe.seed, indices, recipe.batch_size, precision=recipe.precision
    )

    def deliver(index: int, drawn: ImageUnit) -> dict[str, Any]:
        data = encode_drawing(drawn, transposed=preset.transpose, output=recipe.output, size_px=recipe.size)
        sha256 = execution.objects.put_blob(data)
        return {"index": index, "sha256": sha256, "width": recipe.size, "height": recipe.size}

    with held_memory(), Delivery(deliver) as delivery:
        drawing = sample_unit_images(drawer, sampler, plan, progress=execution.progress, device=choose_device())
        for index, drawn in drawing:
            delivery.add(index, drawn)
        return {"images": delivery.results()}


def finish_generation(execution: Execution) -> list[DraftArtifact]:
    """The synthetic image set, from the images that the shards stored and those of the set it extends.

    Raises:
        ImagesMissing: an image is missing or was drawn twice.
    """
    request = execution.request
    n, tumour_class, extend = request["n"], request["class"], request.get("extend")
    recipe = SamplingRecipe.model_validate(request["recipe"]).model_dump()
    images: list[dict[str, Any]] = []
    if extend is not None:
        images += execution.artifacts.manifest(execution.artifacts.get(extend, execution.owner, "image_set"))["images"]
    n_old, digits, ending = len(images), _count_digits(images, n), ENDINGS[recipe["output"]]
    drawn = sorted((image for part in execution.results for image in part["images"]), key=lambda image: image["index"])
    if [image["index"] for image in drawn] != list(range(n_old, n)):
        raise ImagesMissing(f"{n - n_old} images were asked for, {len(drawn)} were drawn; retry the job.")
    images += [
        {
            "name": f"{tumour_class}/{tumour_class}_{image['index'] + 1:0{digits}d}.{ending}",
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
    parents = [recipe["model"]] + ([extend] if extend is not None else [])
    return [DraftArtifact("image_set", "synthetic", request["name"], body, summary, tumour_class, parents)]


def _count_digits(old: Sequence[dict[str, Any]], n: int) -> int:
    """Digits of the numbers in names: those of the set that is extended, or enough for `n`, at least 4."""
    if not old:
        return max(4, len(str(n)))
    return len(old[0]["name"].rpartition("_")[2].partition(".")[0])


def _name_twins(images: list[dict[str, Any]]) -> list[str]:
    """A warning for each group of images with the same bytes: seeds differ, so the model gives nothing else."""
    counts = Counter(image["sha256"] for image in images)
    groups = [
        [image["name"] for image in images if image["sha256"] == sha] for sha, count in counts.items() if count > 1
    ]
    return [f"The same image {len(names)} times: {', '.join(names[:5])}." for names in groups]
