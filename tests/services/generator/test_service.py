"""The generator's edges on real servers: requests become jobs, jobs become models and image sets."""

import asyncio
import json
import shutil
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from services.generator import sample_jobs, sources, train_jobs
from services.generator.images import decode_gray, encode_png
from services.generator.models.checkpoints import read_tensors, write_weights
from services.generator.models.preset import Preset
from services.generator.sampling.drawing import SamplingPlan, sample_unit_images
from services.generator.sampling.samplers import build_sampler
from services.generator.settings import get_generator_settings
from shared.app import INTERNAL_TOKEN, OWNER
from shared.artifacts.annotations import correct_images
from shared.artifacts.store import Artifact, ArtifactStore, DraftArtifact
from shared.database import get_database
from shared.jobs.runner import run_shard
from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from shared.progress import NoProgress
from shared.settings import Settings
from tests.services.generator.micro import MICRO, draw_images, random_network

pytestmark = pytest.mark.services
TEAM = "team"


class Door:
    """Posts to the service's app as the gateway would."""

    def __init__(self, app: FastAPI, headers: dict[str, str]) -> None:
        self._app, self._headers = app, headers

    def post(self, path: str, **request: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://generator", headers=self._headers
            ) as client:
                return await client.post(path, **request)

        return asyncio.run(send())


@pytest.fixture
def client(settings: Settings, artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> Door:
    from services.generator.api import app

    sources.load_network.cache_clear()
    monkeypatch.setenv("SYNTHMRI_TORCH_THREADS", "1")
    return Door(app, {INTERNAL_TOKEN: settings.internal_token, OWNER: TEAM})


LEAKAGE = {"checked": True, "exact": 2, "near": 1, "groups": 0, "kept": 3, "waiver": None}


def keep_image_set(
    artifacts: ArtifactStore, objects: ObjectStore, kind: str = "preprocessed", n: int = 9, **body: Any
) -> Artifact:
    images = [
        {
            "name": f"{split}/glioma/{k}.png", "class": "glioma", "split": split, "plane": None, "source": None,
            "sha256": objects.put_blob(encode_png(image_u8)), "width": 64, "height": 64, "parameters": {},
        }
        for split in ("Training", "Testing") for k, image_u8 in enumerate(draw_images(n, 64))
    ]  # fmt: skip
    return artifacts.create(DraftArtifact("image_set", kind, "real", {"images": images, **body}), owner=TEAM)


def keep_model(
    artifacts: ArtifactStore, objects: ObjectStore, kind: str = "diffusion", preset: Preset = MICRO
) -> Artifact:
    body = {
        "objects": {"weights": objects.put_blob(write_weights(random_network().state_dict(), preset))},
        "config": {"preset": preset.model_dump(mode="json")},
    }
    return artifacts.create(DraftArtifact("model", kind, "micro", body, tumour_class="glioma"), owner=TEAM)


def work(jobs: JobStore, job: dict[str, Any], n_shards: int = 0) -> dict[str, Any]:
    """Do a whole job in this process and return how it ended."""
    for number in reversed(range(n_shards)):
        run_shard(job["id"], number, work=sample_jobs.draw_images, finish=sample_jobs.finish_generation)
    if not n_shards:
        run_shard(job["id"], 0, finish=train_jobs.finish_training)
    view = jobs.get(job["id"], TEAM)
    assert view["status"] == "succeeded", view["error"]
    return view


def made(artifacts: ArtifactStore, view: dict[str, Any], noun: str) -> tuple[Artifact, dict[str, Any]]:
    artifact = artifacts.get(view["artifacts"][0]["id"], TEAM, noun)
    return artifact, artifacts.manifest(artifact)


def test_training_makes_a_model_that_generates(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore
) -> None:
    image_set = keep_image_set(artifacts, objects)
    request = {
        "image_set": image_set.id,
        "class": "glioma",
        "preset": "tiny-32",
        "epochs": 2,
        "batch_size": 5,
        "size": 8,
    }
    answer = client.post("/models/diffusion", json=request)
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/jobs/{answer.json()['id']}"
    view = work(jobs, answer.json())
    assert view["progress"] == {"done": 4, "total": 4, "unit": "step"}
    model, manifest = made(artifacts, view, "model")
    assert (model.kind, model.tumour_class) == ("diffusion", "glioma")
    assert manifest["parents"] == [image_set.id]
    assert manifest["card"]["n_images"] == 9  # the Testing images stay unseen
    assert "never checked for leakage" in manifest["card"]["notes"][0]
    assert json.loads(objects.get_blob(manifest["objects"]["curves.json"])) == manifest["card"]["curves"]
    assert len(manifest["card"]["curves"]["loss"]) == 2
    assert read_tensors(objects.get_blob(manifest["objects"]["raw_weights"]))[0]
    assert manifest["objects"]["weights"] == manifest["objects"]["average_weights"]
    assert [warning["code"] for warning in manifest["card"]["warnings"]] == ["planes_unknown", "few_images"]
    assert view["notes"]["warnings"] == "few_images, planes_unknown"
    generated = client.post("/generate", params={"class": "glioma", "n": 2, "steps": 2, "batch_size": 2})
    synthetic, drawn = made(
        artifacts, work(jobs, generated.json(), 1) and jobs.get(generated.json()["id"], TEAM), "image_set"
    )
    assert synthetic.kind == "synthetic"
    assert drawn["parents"] == [model.id]


def test_corrections_count_as_they_were_when_the_training_was_asked_for(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore
) -> None:
    image_set = keep_image_set(artifacts, objects, n=15)
    names = [f"Training/glioma/{k}.png" for k in range(15)]
    patients = {name: {"group": f"p{k // 5}", "plane": "axial"} for k, name in enumerate(names)}
    correct_images(get_database(), image_set, patients, by="key")
    overrides = {"validation_share": 0.4}
    request = {"image_set": image_set.id, "class": "glioma", "preset": "tiny-32", "epochs": 1, "size": 8}
    job = client.post("/models/diffusion", json={**request, "overrides": overrides}).json()
    correct_images(get_database(), image_set, {name: {"group": None, "plane": "coronal"} for name in names}, by="key")
    _, manifest = made(artifacts, work(jobs, job), "model")
    card = manifest["card"]
    # Two fifths of 15 images would be 6 of them; a whole patient is 5.
    assert (card["n_images"], card["n_held_out"], card["training_planes"]) == (10, 5, {"glioma, axial": 10})
    kept = json.loads(objects.get_blob(manifest["objects"]["corrections"]))
    assert kept == patients


def test_a_training_without_corrections_keeps_none(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore
) -> None:
    image_set = keep_image_set(artifacts, objects)
    correct_images(get_database(), image_set, {"Testing/glioma/1.png": {"plane": "axial"}}, by="key")
    request = {"image_set": image_set.id, "class": "glioma", "preset": "tiny-32", "size": 8}
    assert client.post("/models/diffusion", json=request).json()["request"]["corrections"] is None


def test_generated_images_do_not_depend_on_the_shards(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore
) -> None:
    model = keep_model(artifacts, objects)
    params = {"class": "glioma", "n": 7, "seed": 5, "steps": 3, "batch_size": 2, "size": 32}
    manifests = []
    for shard_size, n_shards in ((2, 4), (6, 2)):
        answer = client.post("/generate", params={**params, "shard_size": shard_size})
        assert answer.status_code == 202
        view = work(jobs, answer.json(), n_shards)
        assert view["progress"] == {"done": 7, "total": 7, "unit": "image"}
        manifests.append(made(artifacts, view, "image_set")[1])
    first, second = manifests
    assert first["images"] == second["images"]
    assert [image["name"] for image in first["images"]] == [f"glioma/glioma_{k:04d}.png" for k in range(1, 8)]
    assert len({image["sha256"] for image in first["images"]}) == 7
    assert first["warnings"] == []
    image = first["images"][3]
    expected = {"model": model.id, "sampler": "ddim", "steps": 3, "seed": 5, "size": 32, "batch_size": 2, "index": 3}
    assert image["parameters"] == {
        **expected,
        "precision": "float32",
        "guidance": 1.0,
        "guidance_sigma_min": 0.0,
        "guidance_sigma_max": None,
        "output": "png",
    }
    image_u8 = decode_gray(objects.get_blob(image["sha256"]))
    assert image_u8.shape == (image["height"], image["width"]) == (32, 32)
    assert np.ptp(image_u8) > 0


def test_a_seed_is_drawn_and_recorded_where_none_is_given(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore
) -> None:
    keep_model(artifacts, objects)
    seeds = set()
    for _ in range(2):
        answer = client.post("/generate", params={"class": "glioma", "n": 1})
        seeds.add(answer.json()["request"]["recipe"]["seed"])
    assert len(seeds) == 2


def test_twins_are_named_in_the_manifest() -> None:
    images = [{"name": name, "sha256": sha} for name, sha in (("a", "1"), ("b", "2"), ("c", "1"))]
    assert sample_jobs._name_twins(images) == ["The same image 2 times: a, c."]


@pytest.mark.parametrize(
    ("params", "code", "says"),
    [
        ({"class": "lymphoma", "n": 1}, "invalid_request", "'glioma', 'meningioma', 'notumor' or 'pituitary'"),
        ({"class": "glioma"}, "invalid_request", "n: Field required"),
        ({"class": "glioma", "n": 0}, "invalid_request", "greater than or equal to 1"),
        ({"class": "glioma", "n": 10_001}, "too_many_images", "at most 10000"),
        ({"class": "glioma", "n": 1, "sampler": "euler"}, "invalid_request", "'ddpm', 'ddim', 'dpm++' or 'unipc'"),
        ({"class": "glioma", "n": 1, "steps": 0}, "invalid_request", "steps"),
        ({"class": "glioma", "n": 1, "steps": 1001}, "invalid_request", "steps"),
        ({"class": "glioma", "n": 1, "seed": -1}, "invalid_request", "seed"),
        ({"class": "glioma", "n": 1, "size": 8}, "size_too_small", "draws 16 px"),
        ({"class": "glioma", "n": 1, "colour": "red"}, "invalid_request", "colour"),
        ({"class": "glioma", "n": 1, "name": "a\x00b"}, "invalid_request", "name"),
        ({"class": "glioma", "n": 1, "model": "mdl\x00"}, "invalid_request", "model"),
        ({"class": "glioma", "n": 1, "model": "mdl-none"}, "model_not_found", "mdl-none"),
    ],
)
def test_a_generation_that_cannot_be_is_refused(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore, params: dict[str, Any], code: str, says: str
) -> None:
    keep_model(artifacts, objects)
    answer = client.post("/generate", params=params)
    assert answer.status_code in (404, 422)
    assert answer.json()["code"] == code
    assert says in answer.json()["detail"]


def test_a_model_of_another_kind_or_class_is_refused(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore
) -> None:
    classifier, model = keep_model(artifacts, objects, "classifier"), keep_model(artifacts, objects)
    for class_, model_id, code in (
        ("glioma", classifier.id, "not_a_diffusion_model"),
        ("notumor", model.id, "wrong_tumour_class"),
    ):
        answer = client.post("/generate", params={"class": class_, "n": 1, "model": model_id})
        assert (answer.status_code, answer.json()["code"]) == (422, code)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"preset": "huge"}, "preset_unknown"),
        ({"size": 60}, "preset_value_invalid"),
        ({"class": "pituitary"}, "too_few_images"),
        ({"image_set": "set-none"}, "image_set_not_found"),
        ({"epochs": 0}, "invalid_request"),
        ({"colour": "red"}, "invalid_request"),
        ({"name": "a\x00b"}, "invalid_request"),
        ({"preset": "tiny\n"}, "invalid_request"),
        ({"image_set": "set\x00"}, "invalid_request"),
    ],
)
def test_a_training_that_cannot_be_is_refused(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore, change: dict[str, Any], code: str
) -> None:
    image_set = keep_image_set(artifacts, objects)
    answer = client.post("/models/diffusion", json={"image_set": image_set.id, "class": "glioma", **change})
    assert answer.json()["code"] == code


def test_known_leakage_needs_a_waiver_that_the_model_keeps(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore
) -> None:
    image_set = keep_image_set(artifacts, objects, leakage=LEAKAGE)
    request = {"image_set": image_set.id, "class": "glioma", "preset": "tiny-32", "epochs": 1, "size": 8}
    refused = client.post("/models/diffusion", json=request)
    assert (refused.status_code, refused.json()["code"]) == (409, "known_leakage")
    assert jobs.list(TEAM)[0] == []
    for reason in ("no", " " * 9, "x" * 501, "line\nbreak"):
        answer = client.post("/models/diffusion", json={**request, "leakage_waiver": reason})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    answer = client.post("/models/diffusion", json={**request, "leakage_waiver": "training images only"})
    _, manifest = made(artifacts, work(jobs, answer.json()), "model")
    assert manifest["request"]["leakage_waiver"] == "training images only"
    assert "training images only" in manifest["card"]["notes"][0]


def test_patients_named_after_the_preparation_count(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore
) -> None:
    """Named at the raw set: they stay together where images are held out, and in both splits they need a waiver."""
    raw = keep_image_set(artifacts, objects, "raw", n=15)
    images = [{**image, "source": image["name"]} for image in artifacts.manifest(raw)["images"]]
    draft = DraftArtifact("image_set", "preprocessed", "real", {"images": images}, parents=[raw.id])
    image_set = artifacts.create(draft, owner=TEAM)
    patients = {f"Training/glioma/{k}.png": {"group": f"p{k // 5}"} for k in range(15)}
    correct_images(get_database(), raw, patients, by="key")
    overrides = {"validation_share": 0.4}
    request = {"image_set": image_set.id, "class": "glioma", "preset": "tiny-32", "epochs": 1, "size": 8}
    answer = client.post("/models/diffusion", json={**request, "overrides": overrides})
    correct_images(get_database(), raw, {"Testing/glioma/1.png": {"group": "p1"}}, by="key")
    _, manifest = made(artifacts, work(jobs, answer.json()), "model")  # It goes by what was known when asked for.
    assert (manifest["card"]["n_images"], manifest["card"]["n_held_out"]) == (10, 5)
    assert not any("p1" in note for note in manifest["card"]["notes"])
    refused = client.post("/models/diffusion", json=request)
    assert (refused.status_code, refused.json()["code"]) == (409, "known_leakage")
    answer = client.post("/models/diffusion", json={**request, "leakage_waiver": "training images only"})
    _, manifest = made(artifacts, work(jobs, answer.json()), "model")
    assert "(p1)" in manifest["card"]["notes"][0]
    assert "training images only" in manifest["card"]["notes"][0]


@pytest.mark.parametrize("kind", ["raw", "synthetic"])
def test_only_preprocessed_sets_are_trained_on(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore, kind: str
) -> None:
    image_set = keep_image_set(artifacts, objects, kind)
    answer = client.post("/models/diffusion", json={"image_set": image_set.id, "class": "glioma"})
    assert (answer.status_code, answer.json()["code"]) == (422, "image_set_not_preprocessed")
    assert f"is {kind}; a diffusion model learns from a preprocessed set" in answer.json()["detail"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler: install g++")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of its compiler.
def test_a_compiled_network_draws_the_same_but_for_rounding(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    unet = {"channels": [8], "attention_levels": [False], "patch_px": 1}
    preset = MICRO.replace({"unet": unet, "size_px": 8})
    sha256 = objects.put_blob(write_weights(random_network(config=preset.unet).state_dict(), preset))

    def draw(setting: str) -> Any:
        monkeypatch.setenv("SYNTHMRI_COMPILE_NETWORKS", setting)
        get_generator_settings.cache_clear()
        sources.load_network.cache_clear()
        network, _ = sources.load_network(sha256)
        plan = SamplingPlan(8, preset.value_range, 1, range(3), 2)
        sampler = build_sampler("dpm++", 4, preset.schedule)
        return np.stack([image for _, image in sample_unit_images(network, sampler, plan, progress=NoProgress())])

    try:
        np.testing.assert_allclose(draw("true"), draw("false"), rtol=0, atol=1e-4)
    finally:
        get_generator_settings.cache_clear()
        sources.load_network.cache_clear()
