"""Drawing through the edges: which model, which recipe, extending and drawing again; on real servers."""

import threading
from typing import Any

import numpy as np
import pytest

from services.evaluator import exclude_jobs
from services.generator import redraw_jobs, sample_jobs
from services.generator.images import decode_gray
from services.generator.models.checkpoints import write_weights
from services.generator.models.preset import Preset
from services.generator.models.presets import STUDY
from shared.artifacts.store import Artifact, ArtifactStore, DraftArtifact
from shared.jobs.runner import run_shard
from shared.jobs.store import JobStore
from shared.jobs.submission import Caller
from shared.objects import ObjectStore
from tests.services.generator.micro import MICRO, conditional, random_network
from tests.services.generator.test_service import TEAM, Door, client, keep_model

__all__ = ["client"]  # a fixture
pytestmark = pytest.mark.services
DRAW = {"class": "glioma", "steps": 3, "seed": 5, "batch_size": 2, "shard_size": 2, "sampler": "dpm++"}


def keep(artifacts: ArtifactStore, objects: ObjectStore, preset: Preset, **body: Any) -> Artifact:
    """A model of all classes of the preset, or of glioma alone."""
    weights = random_network(0, preset.unet).state_dict()
    body |= {
        "objects": {"weights": objects.put_blob(write_weights(weights, preset))},
        "config": {"preset": preset.model_dump(mode="json")},
    }
    tumour_class = None if preset.classes else "glioma"
    return artifacts.create(DraftArtifact("model", "diffusion", "micro", body, {}, tumour_class), owner=TEAM)


def post(client: Door, path: str = "/generate", **request: Any) -> dict[str, Any]:
    answer = client.post(path, **request)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


def work(artifacts: ArtifactStore, jobs: JobStore, job: dict[str, Any]) -> tuple[Artifact, dict[str, Any]]:
    """Do a whole job, its last shard first, and return what it made."""
    again = job["kind"] == "diffusion.regenerate"
    finish = redraw_jobs.finish_regeneration if again else sample_jobs.finish_generation
    for number in reversed(jobs.queued_shards(job["id"])):
        run_shard(job["id"], number, work=sample_jobs.draw_images, finish=finish)
    view = jobs.get(job["id"], TEAM)
    assert view["status"] == "succeeded", view["error"]
    made = view["artifacts"][0]
    artifact = artifacts.get(made["id"], TEAM, made["noun"])
    return artifact, artifacts.manifest(artifact)


def test_an_extended_set_keeps_its_images_and_equals_one_drawn_at_once(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore
) -> None:
    model = keep_model(artifacts, objects)
    first, six = work(artifacts, jobs, post(client, params={**DRAW, "n": 6}))
    job = post(client, params={"class": "glioma", "n": 8, "extend": first.id})
    assert job["progress"]["total"] == 2  # nothing else is drawn
    extended, eight = work(artifacts, jobs, job)
    assert eight["images"][:6] == six["images"]
    assert extended.summary["n_images"] == 8
    assert eight["parents"] == [model.id, first.id]
    _, at_once = work(artifacts, jobs, post(client, params={**DRAW, "n": 8}))
    assert eight["images"] == at_once["images"]
    assert eight["recipe"] == at_once["recipe"]


@pytest.mark.parametrize(
    ("params", "code", "says"),
    [
        ({"n": 4}, "nothing_to_add", "has 4 images already"),
        ({"n": 6, "seed": 6}, "extension_differs", "differs in seed"),
        ({"n": 6, "steps": 4, "sampler": "ddim"}, "extension_differs", "sampler, steps"),
        ({"n": 6, "quality": "fast"}, "extension_differs", "leave quality out"),
        ({"n": 6, "model": "mdl-other"}, "extension_differs", "model"),
        ({"n": 6, "class": "notumor"}, "extension_differs", "is of glioma"),
        ({"n": 6, "extend": "set-none"}, "image_set_not_found", "set-none"),
    ],
)
def test_an_extension_that_cannot_be_is_refused(
    client: Door,
    artifacts: ArtifactStore,
    objects: ObjectStore,
    jobs: JobStore,
    params: dict[str, Any],
    code: str,
    says: str,
) -> None:
    keep_model(artifacts, objects)
    first, _ = work(artifacts, jobs, post(client, params={**DRAW, "n": 4}))
    answer = client.post("/generate", params={"class": "glioma", "extend": first.id, **params})
    assert answer.json()["code"] == code
    assert says in answer.json()["detail"]


def test_a_set_without_some_of_its_images_is_drawn_again_but_not_extended(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore
) -> None:
    keep_model(artifacts, objects)
    whole, manifest = work(artifacts, jobs, post(client, params={**DRAW, "n": 4}))
    names = [image["name"] for image in manifest["images"]]
    wanted = {"report": None, "images": [names[1]], "name": None}
    job = exclude_jobs.start_exclusion(Caller(owner=TEAM), whole.id, wanted).job
    assert run_shard(job["id"], 0, finish=exclude_jobs.finish_exclusion)
    part = jobs.get(job["id"], TEAM)["artifacts"][0]["id"]
    answer = client.post("/generate", params={"class": "glioma", "extend": part, "n": 6})
    assert (answer.status_code, answer.json()["code"]) == (422, "images_excluded")
    assert answer.json()["images"] == [names[1]]
    again = post(client, f"/image-sets/{part}/regenerate", json={"images": [names[0], names[3]]})
    _, report = work(artifacts, jobs, again)
    assert (report["report"]["n"], report["report"]["equal"]) == (2, 2)
    gone = client.post(f"/image-sets/{part}/regenerate", json={"images": [names[1]]})
    assert gone.json()["code"] == "image_not_found"


def test_what_agrees_with_the_recipe_may_be_said_again(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore
) -> None:
    keep_model(artifacts, objects)
    first, _ = work(artifacts, jobs, post(client, params={**DRAW, "n": 2}))
    _, manifest = work(artifacts, jobs, post(client, params={**DRAW, "n": 3, "extend": first.id}))
    assert len(manifest["images"]) == 3


def test_images_drawn_again_are_equal_and_others_are_named(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore
) -> None:
    keep_model(artifacts, objects)
    image_set, manifest = work(artifacts, jobs, post(client, params={**DRAW, "n": 6}))
    names = [manifest["images"][k]["name"] for k in (4, 0, 5, 4)]
    job = post(client, f"/image-sets/{image_set.id}/regenerate", json={"images": names})
    report, made = work(artifacts, jobs, job)
    assert (report.kind, report.summary["equal"], made["report"]["different"]) == ("regeneration", 3, [])
    assert made["parents"] == [image_set.id, manifest["recipe"]["model"]]
    altered = [dict(image) for image in manifest["images"]]
    altered[2]["sha256"] = "0" * 64
    body = {"images": altered, "recipe": manifest["recipe"]}
    wrong = artifacts.create(DraftArtifact("image_set", "synthetic", "x", body, {}, "glioma"), owner=TEAM)
    request = {"images": [image["name"] for image in altered]}
    _, made = work(artifacts, jobs, post(client, f"/image-sets/{wrong.id}/regenerate", json=request))
    assert made["report"]["equal"] == 5
    (different,) = made["report"]["different"]
    expected = {"name": altered[2]["name"], "expected": "0" * 64, "drawn": manifest["images"][2]["sha256"]}
    assert different == expected


def test_a_regeneration_that_cannot_be_is_refused(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore
) -> None:
    keep_model(artifacts, objects)
    image_set, _ = work(artifacts, jobs, post(client, params={**DRAW, "n": 2}))
    raw = artifacts.create(DraftArtifact("image_set", "raw", "x", {"images": []}), owner=TEAM)
    for id_, images, code in (
        (image_set.id, [], "invalid_request"),
        (image_set.id, ["a"] * 1001, "invalid_request"),
        (image_set.id, ["glioma/glioma_0009.png"], "image_not_found"),
        (raw.id, ["a.png"], "not_generated"),
        ("set-none", ["a.png"], "image_set_not_found"),
    ):
        answer = client.post(f"/image-sets/{id_}/regenerate", json={"images": images})
        assert answer.json()["code"] == code


def test_two_workers_draw_what_one_does(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore
) -> None:
    keep_model(artifacts, objects)
    _, alone = work(artifacts, jobs, post(client, params={**DRAW, "n": 8, "sampler": "ddpm"}))
    job = post(client, params={**DRAW, "n": 8, "sampler": "ddpm"})
    shards = jobs.queued_shards(job["id"])

    def draw(numbers: list[int]) -> None:
        for number in numbers:
            run_shard(job["id"], number, work=sample_jobs.draw_images, finish=sample_jobs.finish_generation)

    workers = [threading.Thread(target=draw, args=(order,)) for order in (shards, shards[::-1])]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    view = jobs.get(job["id"], TEAM)
    assert view["status"] == "succeeded"
    together = artifacts.manifest(artifacts.get(view["artifacts"][0]["id"], TEAM))
    assert together["images"] == alone["images"]


def test_a_conditional_model_draws_each_of_its_classes(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore
) -> None:
    glioma_only = keep_model(artifacts, objects)
    model = keep(artifacts, objects, conditional(MICRO).model_copy(update={"guidance": 2.0}))
    drawn = {}
    for tumour_class in ("glioma", "notumor"):
        image_set, manifest = work(artifacts, jobs, post(client, params={**DRAW, "class": tumour_class, "n": 2}))
        assert image_set.tumour_class == tumour_class
        assert manifest["recipe"]["model"] == model.id  # the newest that draws glioma, too
        assert manifest["recipe"]["guidance"] == 2.0
        drawn[tumour_class] = manifest["images"][0]["sha256"]
    assert drawn["glioma"] != drawn["notumor"]
    _, manifest = work(artifacts, jobs, post(client, params={**DRAW, "n": 2, "model": model.id, "guidance": 1}))
    assert manifest["images"][0]["parameters"]["guidance"] == 1.0
    assert manifest["images"][0]["sha256"] != drawn["glioma"]
    narrow = {"guidance_sigma_min": 0.5, "guidance_sigma_max": 5}
    _, manifest = work(artifacts, jobs, post(client, params={**DRAW, "n": 2, "model": model.id, **narrow}))
    assert manifest["recipe"]["guidance_sigma_max"] == 5.0
    assert manifest["images"][0]["sha256"] != drawn["glioma"]
    refused = client.post("/generate", params={**DRAW, "n": 1, "model": model.id, **narrow, "guidance_sigma_min": 9})
    assert refused.json()["code"] == "guidance_interval_empty"
    newest = keep_model(artifacts, objects)
    assert post(client, params={**DRAW, "n": 1})["request"]["recipe"]["model"] == newest.id
    assert post(client, params={**DRAW, "n": 1, "class": "notumor"})["request"]["recipe"]["model"] == model.id
    refused = client.post("/generate", params={**DRAW, "n": 1, "model": glioma_only.id, "guidance": 2})
    assert refused.json()["code"] == "guidance_needs_classes"


def test_a_transposed_model_draws_upright_pngs_and_mirrored_study_jpegs(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore
) -> None:
    """The same weights, once as if trained on images as stored and once as if on transposed ones."""
    pixels: dict[tuple[bool, str], Any] = {}
    for transpose in (False, True):
        keep(artifacts, objects, MICRO.model_copy(update={"transpose": transpose}))
        for output, ending, side in (("png", "png", 16), ("study", "jpg", 32)):
            _, manifest = work(artifacts, jobs, post(client, params={**DRAW, "n": 1, "output": output}))
            image = manifest["images"][0]
            assert image["name"] == f"glioma/glioma_0001.{ending}"
            assert image["parameters"]["output"] == output
            pixels[transpose, output] = decode_gray(objects.get_blob(image["sha256"])).astype(int)
            assert pixels[transpose, output].shape == (image["height"], image["width"]) == (side, side)
    np.testing.assert_array_equal(pixels[True, "png"], pixels[False, "png"].T)
    for transpose in (False, True):
        doubled = np.kron(pixels[transpose, "png"], np.ones((2, 2), int))
        study = pixels[transpose, "study"]
        # JPEG and the cubic zoom, which aligns corners, blur an image that is noise to its pixels.
        assert np.corrcoef(study.ravel(), doubled[:, ::-1].ravel())[0, 1] > 0.8
        assert np.corrcoef(study.ravel(), doubled.ravel())[0, 1] < 0.5
    refused = client.post("/generate", params={**DRAW, "n": 1, "output": "study", "size": 64})
    assert refused.json()["code"] == "study_size_fixed"


def test_precision_follows_the_models_card_and_the_request(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore
) -> None:
    keep(artifacts, objects, MICRO, card={"precision": "bfloat16"})
    job = post(client, params={**DRAW, "n": 4})
    assert job["request"]["recipe"]["precision"] == "bfloat16"
    _, half = work(artifacts, jobs, job)
    _, full = work(artifacts, jobs, post(client, params={**DRAW, "n": 4, "precision": "float32"}))
    assert full["images"][0]["parameters"]["precision"] == "float32"
    assert half["images"][0]["sha256"] != full["images"][0]["sha256"]
    extended = post(client, params={"class": "glioma", "n": 5, "extend": half["id"]})
    assert extended["request"]["recipe"]["precision"] == "bfloat16"


def test_quality_stands_for_a_sampler_and_its_steps(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore
) -> None:
    keep_model(artifacts, objects)
    chosen = {}
    for quality in ("fast", "balanced", "study"):
        recipe = post(client, params={"class": "glioma", "n": 1, "quality": quality})["request"]["recipe"]
        chosen[quality] = (recipe["sampler"], recipe["steps"])
    assert chosen == {"fast": ("dpm++", 10), "balanced": ("dpm++", 25), "study": ("ddpm", 1000)}
    for field, value in (("sampler", "ddim"), ("steps", 5)):
        answer = client.post("/generate", params={"class": "glioma", "n": 1, "quality": "fast", field: value})
        assert (answer.status_code, answer.json()["code"]) == (422, "quality_or_sampler")


def test_a_plus_that_became_a_space_is_understood(client: Door, artifacts: ArtifactStore, objects: ObjectStore) -> None:
    keep_model(artifacts, objects)
    for spelled in ("dpm++", "dpm%2B%2B", "dpm%20%20"):
        job = post(client, f"/generate?class=glioma&n=1&sampler={spelled}")
        assert job["request"]["recipe"]["sampler"] == "dpm++"
        assert job["request"]["recipe"]["steps"] == 20


def test_a_batch_too_large_for_any_worker_is_refused_at_once(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore
) -> None:
    keep_model(artifacts, objects, preset=STUDY)
    answer = client.post("/generate", params={"class": "glioma", "n": 200, "batch_size": 129})
    assert (answer.status_code, answer.json()["code"], answer.json()["maximum"]) == (422, "batch_does_not_fit", 128)
    post(client, params={"class": "glioma", "n": 200, "batch_size": 128})
