"""What a calibration chooses, and the whole of one on real servers."""

import csv
import io
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PIL import Image

from services.generator import calibrate_jobs, sources
from services.generator.models.checkpoints import write_weights
from services.generator.models.preset import Preset, SamplerName, ScheduleConfig
from services.generator.sampling.calibration import Point, choose_settings, draw_chart, measure_pace, render_csv
from services.generator.sampling.recipe import SamplingWishes, resolve_recipe
from shared.artifacts.store import Artifact, ArtifactStore, DraftArtifact
from shared.jobs.runner import Execution, run_shard
from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from shared.progress import NoProgress
from tests.services.generator.micro import MICRO, conditional, random_network
from tests.services.generator.test_generation import keep, post
from tests.services.generator.test_service import TEAM, Door, client, keep_image_set

__all__ = ["client"]  # a fixture
SHORT = MICRO.model_copy(update={"schedule": ScheduleConfig(train_steps=10), "sampler_steps": 5})


def point(sampler: SamplerName, steps: int, seconds: float, distance: float) -> Point:
    return Point(sampler=sampler, steps=steps, seconds_per_image=seconds, distance=distance)


CURVE = [
    point("dpm++", 5, 0.5, 9.0),
    point("dpm++", 10, 1.0, 1.45),
    point("unipc", 20, 2.1, 1.08),
    point("dpm++", 20, 2.0, 1.2),
    point("ddim", 50, 5.0, 1.0),
    Point(sampler="ddpm", steps=1000, skipped="would take 640 s"),
]


def names(chosen: Any) -> dict[str, tuple[str, int]]:
    return {quality: (choice["sampler"], choice["steps"]) for quality, choice in chosen.items()}


def test_the_cheapest_within_the_tolerance_is_chosen() -> None:
    chosen = choose_settings(CURVE, floor=0.3, train_steps=1000)
    assert names(chosen) == {"fast": ("dpm++", 10), "balanced": ("unipc", 20), "study": ("ddpm", 1000)}


def test_below_the_floor_all_are_as_good() -> None:
    assert names(choose_settings(CURVE, floor=9.0, train_steps=1000))["balanced"] == ("dpm++", 5)


def test_study_needs_no_measurement_and_the_others_do() -> None:
    assert names(choose_settings(CURVE[-1:], floor=0.3, train_steps=1000)) == {"study": ("ddpm", 1000)}


def test_table_and_chart_show_every_point() -> None:
    rows = list(csv.DictReader(io.StringIO(render_csv(CURVE).decode())))
    assert [(row["sampler"], int(row["steps"])) for row in rows] == [(each.sampler, each.steps) for each in CURVE]
    assert rows[-1]["skipped"] == "would take 640 s"
    chart = draw_chart(CURVE, 0.3, choose_settings(CURVE, 0.3, 1000), 64)
    assert Image.open(io.BytesIO(chart)).size[0] > 1000
    assert draw_chart(CURVE[-1:], 0.3, {}, 64)


@pytest.mark.parametrize("train_steps", [2, 1000])
def test_what_is_paid_once_is_no_part_of_the_pace(train_steps: int) -> None:
    pace_s, once_s = measure_pace(lambda steps: 0.7 + 0.05 * steps, train_steps)
    assert (pace_s, once_s) == (pytest.approx(0.05), pytest.approx(0.7))


def test_a_pace_that_cannot_be_measured_is_told_too_slow() -> None:
    """As when another process had the cores while few steps were timed: a forecast of nothing would skip nothing."""
    assert measure_pace(lambda steps: 3.0 - 0.1 * steps, 1000) == (pytest.approx(2.4 / 6), 0.0)


@pytest.mark.services
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_slow_store_is_forecast_once_not_for_each_step(objects: ObjectStore, guidance: float) -> None:
    """Each image takes the store 0.3 s: times 400 steps that would be two minutes, of which none are."""

    def put_slowly(data: bytes) -> str:
        time.sleep(0.3)
        return "0" * 64

    preset = conditional(MICRO)
    weights = objects.put_blob(write_weights(random_network(0, preset.unet).state_dict(), preset))
    wishes = SamplingWishes(sampler="ddim", steps=400, seed=0, guidance=guidance)
    recipe = resolve_recipe(preset, "mdl-x", wishes)
    request = {"weights": weights, "n": 8, "classes": ["glioma"]}
    execution = SimpleNamespace(request=request, objects=SimpleNamespace(put_blob=put_slowly), progress=NoProgress())
    sources.load_network.cache_clear()
    # The lowest of three: another process may have the cores while few steps are timed.
    predicted_s = min(calibrate_jobs._predict_seconds(cast("Execution", execution), recipe) for _ in range(3))
    began = time.perf_counter()
    calibrate_jobs._draw(cast("Execution", execution), recipe, range(1), NoProgress())
    assert 0.3 < predicted_s < 5 * (time.perf_counter() - began)


def calibrate(artifacts: ArtifactStore, jobs: JobStore, job: dict[str, Any]) -> tuple[Artifact, dict[str, Any]]:
    for number in jobs.queued_shards(job["id"]):
        run_shard(job["id"], number, work=calibrate_jobs.measure_setting, finish=calibrate_jobs.finish_calibration)
    view = jobs.get(job["id"], TEAM)
    assert view["status"] == "succeeded", view["error"]
    assert view["progress"]["done"] == view["progress"]["total"]
    report = artifacts.get(view["artifacts"][0]["id"], TEAM, "report")
    return report, artifacts.manifest(report)


def keep_trained(artifacts: ArtifactStore, objects: ObjectStore, preset: Preset) -> Artifact:
    """A model whose parent is an image set of its class."""
    image_set, model = keep_image_set(artifacts, objects), keep(artifacts, objects, preset)
    if preset.classes:
        images = [
            {**image, "class": tumour_class, "name": f"{tumour_class}/{image['name']}"}
            for image in artifacts.manifest(image_set)["images"]
            for tumour_class in preset.classes
        ]
        draft = DraftArtifact("image_set", "preprocessed", "several classes", {"images": images})
        image_set = artifacts.create(draft, owner=TEAM)
    body = {key: artifacts.manifest(model)[key] for key in ("objects", "config")}
    draft = DraftArtifact("model", "diffusion", "micro", body, {}, model.tumour_class, [image_set.id])
    return artifacts.create(draft, owner=TEAM)


@pytest.mark.services
@pytest.mark.parametrize("preset", [SHORT, conditional(SHORT).model_copy(update={"guidance": 2.0})])
def test_a_calibration_is_what_quality_goes_by(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore, preset: Preset
) -> None:
    model = keep_trained(artifacts, objects, preset)
    job = post(client, f"/models/{model.id}/calibrate", json={"n": 32})
    report, manifest = calibrate(artifacts, jobs, job)
    assert report.kind == "calibration"
    assert manifest["parents"][0] == model.id
    assert set(manifest["objects"]) == {"chart.png", "table.csv", "samples.png"}
    curve = manifest["report"]
    dpm, unipc = ([(sampler, steps) for steps in (5, 8, 10)] for sampler in ("dpm++", "unipc"))
    measured = [(each["sampler"], each["steps"]) for each in curve["points"]]
    assert measured == [*dpm, *unipc, ("ddim", 10), ("ddpm", 10)]
    assert all(each["seconds_per_image"] > 0 and each["distance"] > 0 for each in curve["points"])
    assert curve["real_floor"] > 0
    assert any("best distance alone" in note for note in curve["notes"])  # 9 training images, 32 drawn
    for quality in ("fast", "balanced", "study"):
        recipe = post(client, params={"class": "glioma", "n": 1, "quality": quality})["request"]["recipe"]
        chosen = curve["choices"][quality]
        assert (recipe["sampler"], recipe["steps"]) == (chosen["sampler"], chosen["steps"])
    other = keep(artifacts, objects, SHORT)  # of another model nothing is known
    recipe = post(client, params={"class": "glioma", "n": 1, "quality": "fast"})["request"]["recipe"]
    assert (recipe["model"], recipe["sampler"], recipe["steps"]) == (other.id, "dpm++", 10)


@pytest.mark.services
def test_settings_of_ones_own_leave_quality_as_it_was(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore
) -> None:
    model = keep_trained(artifacts, objects, SHORT)
    settings = [{"sampler": "dpm++", "steps": 3}]
    _, manifest = calibrate(
        artifacts, jobs, post(client, f"/models/{model.id}/calibrate", json={"n": 32, "settings": settings})
    )
    assert manifest["report"]["choices"]["fast"]["steps"] == 3
    assert any("quality` keeps its meaning" in note for note in manifest["report"]["notes"])
    recipe = post(client, params={"class": "glioma", "n": 1, "quality": "fast"})["request"]["recipe"]
    assert (recipe["sampler"], recipe["steps"]) == ("dpm++", 10)


def test_equally_many_images_of_each_class_are_compared() -> None:
    classes = ["glioma"] * 9 + ["notumor"] * 4 + ["glioma"] * 2
    drawn = calibrate_jobs._draw_equal(classes)
    assert Counter(classes[i] for i in drawn) == {"glioma": 4, "notumor": 4}
    assert drawn == sorted(set(drawn))
    assert calibrate_jobs._draw_equal(["glioma"] * 5) == [0, 1, 2, 3, 4]


@pytest.mark.services
def test_what_takes_too_long_is_skipped_and_said(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore
) -> None:
    model = keep_trained(artifacts, objects, SHORT)
    request = {"n": 32, "max_seconds": 1e-6, "settings": [{"sampler": "ddim", "steps": 2}]}
    _, manifest = calibrate(artifacts, jobs, post(client, f"/models/{model.id}/calibrate", json=request))
    (only,) = manifest["report"]["points"]
    assert only["distance"] is None
    assert "would take" in only["skipped"]
    assert set(manifest["report"]["choices"]) == {"study"}


@pytest.mark.services
def test_a_calibration_that_cannot_be_is_refused(client: Door, artifacts: ArtifactStore, objects: ObjectStore) -> None:
    imported, model = keep(artifacts, objects, SHORT), keep_trained(artifacts, objects, SHORT)
    steps = [{"sampler": "ddim", "steps": 11}]
    for model_id, request, code in (
        (imported.id, {}, "no_training_images"),
        ("mdl-none", {}, "model_not_found"),
        (model.id, {"settings": steps}, "too_many_steps"),
        (model.id, {"settings": [{"sampler": "ddim", "steps": 10**6}]}, "too_many_steps"),
        (model.id, {"n": 31}, "invalid_request"),
        (model.id, {"max_seconds": 601}, "invalid_request"),
        (model.id, {"settings": [{"sampler": "euler", "steps": 3}]}, "invalid_request"),
    ):
        assert client.post(f"/models/{model_id}/calibrate", json=request).json()["code"] == code
    usual = post(client, f"/models/{model.id}/calibrate", json={})
    assert usual["progress"]["total"] == 64 * (3 + 3 + 1 + 1)  # of the grid, what 10 training steps allow; and ddpm
