"""The calibration of a model's samplers: each setting is one part of the job, so that others' jobs get their turns."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from services.generator.images import ImageU8, decode_gray, encode_png, shrink_image
from services.generator.models.footprint import check_drawing
from services.generator.models.preset import Preset, TooManySteps
from services.generator.sampling.appearance import AppearanceSpace, frechet_distance, real_floor
from services.generator.sampling.calibration import (
    GRID,
    Point,
    Setting,
    choose_settings,
    draw_chart,
    measure_pace,
    render_csv,
)
from services.generator.sampling.outputs import ImageUnit, encode_drawing
from services.generator.sampling.recipe import SamplingRecipe, SamplingWishes, resolve_recipe
from services.generator.sources import (
    find_training_images,
    get_diffusion_model,
    list_classes,
    load_network,
    read_precision,
    read_preset,
    set_threads,
)
from services.generator.training.data import plan_training
from shared.artifacts.store import Artifact, DraftArtifact, get_artifacts
from shared.errors import Conflict
from shared.jobs.runner import Execution
from shared.jobs.submission import Accepted, Caller, submit
from shared.progress import Progress
from shared.tumour import TumourClass

_SHEET_COLUMNS: Final = 8
_NOTES: Final = (
    "The distance is Fréchet's between 24 features, coarse shape and graininess, of the drawn and the training images. "
    "It tells samplers of this model apart; it is no FID, says little of anatomy, and compares no models.",
    "Seconds were measured on the workers that took part, with whatever else they did at that time.",
)
_FLOOR_NOTE: Final = (
    "There are fewer than twice as many training images as images drawn, so that the distance of real images from real "
    "ones came out too high: what is good enough was judged by the best distance alone."
)
_SETTINGS_NOTE: Final = (
    "The request named its settings, so `quality` keeps its meaning; only a calibration of the usual ones changes it."
)


class NoTrainingImages(Conflict):
    """The model was not trained here, so there is nothing to compare its images with."""


def start_calibration(
    caller: Caller,
    model_id: str,
    *,
    n: int,
    seed: int,
    max_seconds: float,
    settings: Sequence[Setting] | None = None,
) -> Accepted:
    """Submit the measuring of `settings`, or of the usual grid and `ddpm` with all steps.

    Args:
        caller: who asks.
        model_id: the model.
        n: images for each setting, the same seeds in all.
        seed: of the images.
        max_seconds: a setting that would take longer is skipped.
        settings: what to measure.

    Raises:
        ModelNotFound, NotADiffusionModel, NoTrainingImages, TooManySteps, BatchDoesNotFit: at once.
    """
    model = get_diffusion_model(caller.owner, model_id)
    manifest = get_artifacts().manifest(model)
    preset = read_preset(manifest)
    image_set = _find_image_set(model)
    trained = preset.schedule.train_steps
    usual = settings is None
    if settings is None:
        grid = [setting for setting in GRID if setting.steps <= trained]
        settings = [*grid, Setting(sampler="ddpm", steps=trained)]
    if any(setting.steps > trained for setting in settings):
        raise TooManySteps(f"Model {model.id} was trained on {trained} steps; ask for no more.", maximum=trained)
    wishes = SamplingWishes(seed=seed, quality="study")  # Each part has a sampler and steps of its own.
    recipe = resolve_recipe(preset, model.id, wishes, trained_precision=read_precision(manifest))
    check_drawing(preset, recipe.batch_size, guided=recipe.guidance != 1)
    request = {
        "model": model.id,
        "classes": [str(tumour_class) for tumour_class in list_classes(model)],
        "image_set": image_set.id,
        "weights": manifest["objects"]["weights"],
        "recipe": recipe.model_dump(exclude={"sampler", "steps"}),
        "n": n,
        "max_seconds": max_seconds,
        "usual": usual,
        "name": f"Calibration of {model.name}",
    }
    shards = [setting.model_dump() for setting in settings]
    return submit(caller, "diffusion.calibrate", request, shards=shards, total=n * len(shards), unit="image")


def _find_image_set(model: Artifact) -> Artifact:
    """The set that the model was trained on."""
    for parent in get_artifacts().manifest(model)["parents"]:
        artifact = get_artifacts().get(parent, None)
        if artifact.noun == "image_set":
            return artifact
    raise NoTrainingImages(
        f"Model {model.id} was not trained here; a calibration compares with the images of the training. Use `sampler` "
        "and `steps`, or `quality` with its usual meaning."
    )


def measure_setting(execution: Execution) -> dict[str, Any]:
    """Draw the images of one setting: `{"point": Point, "images": [sha256, ...]}`."""
    set_threads()
    request, progress, n = execution.request, execution.progress, execution.request["n"]
    recipe = SamplingRecipe.model_validate({**request["recipe"], **execution.spec})
    setting = Setting.model_validate(execution.spec)
    predicted_s = _predict_seconds(execution, recipe)
    if predicted_s > request["max_seconds"]:
        progress.update(n, n)
        reason = f"would take {predicted_s:.0f} s, more than {request['max_seconds']:g} s"
        return {"point": Point(**setting.model_dump(), skipped=reason).model_dump(), "images": []}
    began = time.perf_counter()
    images = _draw(execution, recipe, range(n), progress)
    point = Point(**setting.model_dump(), seconds_per_image=(time.perf_counter() - began) / n)
    return {"point": point.model_dump(), "images": images}


def _predict_seconds(execution: Execution, recipe: SamplingRecipe) -> float:
    """Seconds that the setting will take, from two batches of few steps; what is done once at first is done before.

    A network that is compiled is so at the first batch of each size, and guidance doubles the size.
    """
    from services.generator.sampling.guidance import count_passes
    from services.generator.sampling.samplers import build_sampler

    n, classes = execution.request["n"], execution.request["classes"]
    plain = recipe.model_copy(update={"sampler": "ddim", "guidance": 1.0})

    def time_drawing(steps: int, trial: SamplingRecipe = plain) -> float:
        began = time.perf_counter()
        _draw(execution, trial.model_copy(update={"steps": steps}), range(1), _Part(execution.progress))
        return time.perf_counter() - began

    if recipe.guidance != 1:
        everywhere = {"guidance": recipe.guidance, "guidance_sigma_min": 0.0, "guidance_sigma_max": None}
        time_drawing(1, plain.model_copy(update=everywhere))
    time_drawing(1)
    _, preset = load_network(execution.request["weights"])
    pace_s, once_s = measure_pace(time_drawing, preset.schedule.train_steps)
    n_batches = sum(-(-len(range(number, n, len(classes))) // recipe.batch_size) for number in range(len(classes)))
    passes = count_passes(preset, recipe, build_sampler(recipe.sampler, recipe.steps, preset.schedule).timesteps)
    return pace_s * passes * n_batches + once_s


def _draw(execution: Execution, recipe: SamplingRecipe, indices: range, progress: Progress) -> list[str]:
    """Draw and store upright PNGs, image k being of class k modulo their number; their hashes, class after class."""
    from services.generator.models.network import choose_device
    from services.generator.sampling.delivery import Delivery
    from services.generator.sampling.drawing import SamplingPlan, sample_unit_images
    from services.generator.sampling.guidance import choose_class
    from services.generator.sampling.samplers import build_sampler

    network, preset = load_network(execution.request["weights"])
    sampler = build_sampler(recipe.sampler, recipe.steps, preset.schedule)
    classes = execution.request["classes"]

    def deliver(drawn: ImageUnit) -> str:
        data = encode_drawing(drawn, transposed=preset.transpose, output="png", size_px=preset.size_px)
        return execution.objects.put_blob(data)

    with Delivery(deliver) as delivery:
        n_done = 0
        for number, tumour_class in enumerate(classes):
            drawer = choose_class(network, preset, TumourClass(tumour_class), recipe)
            own = indices[number :: len(classes)]
            plan = SamplingPlan(
                preset.size_px, preset.value_range, recipe.seed, own, recipe.batch_size, precision=recipe.precision
            )
            part = _Part(progress, n_done, len(indices))
            for _, drawn in sample_unit_images(drawer, sampler, plan, progress=part, device=choose_device()):
                delivery.add(drawn)
            n_done += len(own)
        hashes: list[str] = delivery.results()
    return hashes


class _Part:
    """A Progress that counts one class's images as a part of the whole; silent if there is no whole."""

    def __init__(self, progress: Progress, done_before: int = 0, total: int = 0) -> None:
        self._progress, self._done_before, self._total = progress, done_before, total
        self.note, self.raise_if_cancelled = progress.note, progress.raise_if_cancelled

    def update(self, done: int, total: int) -> None:  # noqa: ARG002 the total of the part
        if self._total:
            self._progress.update(self._done_before + done, self._total)


def finish_calibration(execution: Execution) -> list[DraftArtifact]:
    """The calibration report: the curve, what each quality takes from it, a chart, a table and a sheet of samples."""
    from services.generator.training.sheets import arrange_images

    request, n = execution.request, execution.request["n"]
    model = execution.artifacts.get(request["model"], execution.owner, "model")
    preset = read_preset(execution.artifacts.manifest(model))
    training_u8 = _load_training_images(execution, model, preset)
    space = AppearanceSpace(training_u8)
    training = space.describe(training_u8)
    points, rows = [], []
    for part in execution.results:
        point = Point.model_validate(part["point"])
        if part["images"]:
            drawn_u8 = np.stack([decode_gray(execution.objects.get_blob(sha256)) for sha256 in part["images"]])
            point = point.model_copy(update={"distance": frechet_distance(space.describe(drawn_u8), training)})
            rows.append(arrange_images(drawn_u8[:: max(1, n // _SHEET_COLUMNS)][:_SHEET_COLUMNS], _SHEET_COLUMNS))
        points.append(point)
    floor, usual = real_floor(training, n), request.get("usual", False)
    enough = len(training) >= 2 * n  # Else n images cannot be set apart, and the floor lies above that of n.
    chosen = choose_settings(points, floor if enough else 0.0, preset.schedule.train_steps)
    files = {"chart.png": draw_chart(points, floor, chosen, n), "table.csv": render_csv(points)}
    if rows:
        files["samples.png"] = encode_png(np.concatenate(rows))
    report = {
        "model": model.id,
        "n": n,
        "n_training": len(training_u8),
        "real_floor": floor,
        "points": [point.model_dump() for point in points],
        "choices": chosen,
        "recipe": request["recipe"],
        "notes": [*_NOTES, *([] if enough else [_FLOOR_NOTE]), *([] if usual else [_SETTINGS_NOTE])],
    }
    body = {"report": report, "objects": {name: execution.objects.put_blob(data) for name, data in files.items()}}
    words = {quality: f"{choice['sampler']}, {choice['steps']} steps" for quality, choice in chosen.items()}
    summary = {"model": model.id, "n": n, "usual": usual, "choices": words}
    parents = [model.id, request["image_set"]]
    return [DraftArtifact("report", "calibration", request["name"], body, summary, model.tumour_class, parents)]


def _load_training_images(execution: Execution, model: Artifact, preset: Preset) -> ImageU8:
    """The images the model was trained on, (N, size_px, size_px) uint8, upright: equally many of each class."""
    image_set = execution.artifacts.get(execution.request["image_set"], execution.owner, "image_set")
    manifest = execution.artifacts.manifest(model)
    images = find_training_images(image_set, manifest["objects"].get("corrections"))
    plan = plan_training(images, list_classes(model), preset, manifest.get("seed") or 0)
    loaded = []
    for i in _draw_equal([images[i]["class"] for i in plan.training]):
        image = images[plan.training[i]]
        execution.progress.raise_if_cancelled()
        image_u8 = decode_gray(execution.objects.get_blob(image["sha256"]))
        loaded.append(shrink_image(image_u8, preset.size_px, preset.resize))
    return np.stack(loaded)


def _draw_equal(classes: Sequence[str]) -> list[int]:
    """Positions of as many images of each class as the rarest has, drawn at random, ascending."""
    rng, names = np.random.default_rng(0), np.asarray(classes)
    n = min(Counter(classes).values())
    drawn = [rng.permutation(np.flatnonzero(names == name))[:n] for name in sorted(set(classes))]
    return [int(i) for i in np.sort(np.concatenate(drawn))]
