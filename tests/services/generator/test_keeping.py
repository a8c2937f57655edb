"""Training at the service's edges: class-conditional models, overrides, published files, what a stopped one leaves."""

import json
import threading
import time
from typing import Any

import pytest
import torch

from services.generator import keep_jobs, train_jobs
from services.generator.images import encode_png
from services.generator.models.checkpoints import load_network
from services.generator.training.curves import Losses
from services.generator.training.resume import ResumeState, write_resume
from shared.app import INTERNAL_TOKEN, OWNER
from shared.artifacts.garbage import collect_garbage
from shared.artifacts.store import Artifact, ArtifactStore, DraftArtifact
from shared.database import Database
from shared.jobs.runner import run_shard
from shared.jobs.store import JobStore
from shared.jobs.submission import Caller, submit
from shared.objects import ObjectStore
from shared.settings import Settings
from tests.services.generator.micro import draw_images
from tests.services.generator.test_service import TEAM, Door, keep_image_set, made, work

pytestmark = pytest.mark.services
MICRO_OVERRIDES = {
    "unet": {"channels": [8, 16], "attention_levels": [False, True], "head_channels": 8, "norm_groups": 4},
    "validation_share": 0.2,
    "validate_every": 1,
    "sample_every": 2,
}


@pytest.fixture
def door(settings: Settings, artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> Door:
    from services.generator.api import app

    monkeypatch.setenv("SYNTHMRI_TORCH_THREADS", "1")
    return Door(app, {INTERNAL_TOKEN: settings.internal_token, OWNER: TEAM})


def keep_two_classes(artifacts: ArtifactStore, objects: ObjectStore) -> Artifact:
    images = [
        {
            "name": f"Training/{tumour_class}/{k}.png", "class": tumour_class, "split": "Training", "plane": "axial",
            "sha256": objects.put_blob(encode_png(image_u8)), "width": 64, "height": 64, "parameters": {},
        }
        for seed, tumour_class in enumerate(("pituitary", "glioma"))
        for k, image_u8 in enumerate(draw_images(12, 64, seed))
    ]  # fmt: skip
    return artifacts.create(DraftArtifact("image_set", "preprocessed", "two", {"images": images}), owner=TEAM)


def test_without_a_class_one_model_learns_all_that_the_set_has(
    door: Door,
    artifacts: ArtifactStore,
    objects: ObjectStore,
    jobs: JobStore,
) -> None:
    image_set = keep_two_classes(artifacts, objects)
    request = {"image_set": image_set.id, "preset": "tiny-32", "epochs": 2, "size": 8, "overrides": MICRO_OVERRIDES}
    view = work(jobs, door.post("/models/diffusion", json=request).json())
    model, manifest = made(artifacts, view, "model")
    assert model.tumour_class is None
    assert manifest["config"]["class"] is None
    assert manifest["config"]["classes"] == ["glioma", "pituitary"] == model.summary["classes"]
    card, names = manifest["card"], set(manifest["objects"])
    assert (card["n_images"], card["n_held_out"]) == (18, 6)
    assert card["training_planes"] == {"glioma, axial": 9, "pituitary, axial": 9}
    assert names == {
        "weights", "raw_weights", "average_weights", "best_raw_weights", "best_average_weights",
        "curves.json", "samples_epoch_0002.png",
    }  # fmt: skip
    assert {file["name"] for file in view["files"]} == {"curves.json", "samples_epoch_0002.png"}
    assert json.loads(objects.get_blob(manifest["objects"]["curves.json"])) == card["curves"]
    assert [m["epoch"] for m in card["curves"]["measurements"]] == [1, 2]
    assert view["notes"]["validation_loss"] == round(card["curves"]["measurements"][-1]["average_validation_loss"], 6)
    network, preset = load_network(objects.get_blob(manifest["objects"]["weights"]))
    assert (network.n_classes, preset.unet.n_classes) == (2, 2)


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"class": None}, "too_few_classes", "only 1 (glioma)"),
        ({"overrides": {"classes": ["glioma", "notumor"]}}, "preset_value_invalid", "not for both"),
        ({"class": None, "overrides": {"classes": ["glioma", "notumor"]}}, "too_few_images", "notumor images number 0"),
        ({"overrides": {"epoch": 3}}, "preset_value_invalid", "epoch"),
        ({"overrides": {"name": "mine"}}, "preset_value_invalid", "name"),
        ({"overrides": {"patience": 3}}, "preset_value_invalid", "validation_share above 0"),
        ({"overrides": {"unet": {"channels": [8]}}}, "preset_value_invalid", "attention_levels"),
        ({"overrides": {"schedule": {"beta_end": 1e-5}}}, "preset_value_invalid", "beta_start must be below"),
        ({"overrides": {"validation_share": 0.5}}, "too_few_images", "after balancing and holding out, number 4"),
        ({"overrides": {"precision": "int4"}}, "preset_value_invalid", "precision"),
        ({"overrides": {"guidance": 2}}, "preset_value_invalid", "leave `class` out"),
        ({"preset": "study", "size": 256}, "preset_too_large", "fused_attention"),
    ],
)
def test_a_training_that_cannot_be_is_refused_with_the_reason(
    door: Door,
    artifacts: ArtifactStore,
    objects: ObjectStore,
    change: dict[str, Any],
    code: str,
    says: str,
) -> None:
    request = {"image_set": keep_image_set(artifacts, objects).id, "class": "glioma", **change}
    answer = door.post("/models/diffusion", json=request)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert says in answer.json()["detail"]


def test_overrides_reach_the_training_and_null_switches_off(
    door: Door,
    artifacts: ArtifactStore,
    objects: ObjectStore,
) -> None:
    overrides = {"ema_decay": None, "schedule": {"betas": "cosine"}, "batch_size": 3}
    request = {"image_set": keep_image_set(artifacts, objects).id, "class": "glioma", "overrides": overrides}
    asked = door.post("/models/diffusion", json={**request, "batch_size": 5}).json()["request"]["preset"]
    assert (asked["ema_decay"], asked["schedule"]["betas"], asked["batch_size"]) == (None, "cosine", 5)
    assert asked["schedule"]["prediction"] == "v_prediction"  # the preset's, which was not overridden


def test_what_a_cancelled_training_has_learned_can_be_kept(
    door: Door,
    artifacts: ArtifactStore,
    objects: ObjectStore,
    jobs: JobStore,
    database: Database,
) -> None:
    request = {
        "image_set": keep_image_set(artifacts, objects).id, "class": "glioma", "preset": "tiny-32", "size": 8,
        "epochs": 100_000, "batch_size": 4,
        "overrides": {**MICRO_OVERRIDES, "validation_share": 0, "sample_every": None},
    }  # fmt: skip
    job = door.post("/models/diffusion", json=request).json()
    keep = {"job": job["id"], "name": "half done"}
    open_still = door.post("/models/diffusion/keep", json=keep)
    assert (open_still.status_code, open_still.json()["code"]) == (409, "training_not_stopped")
    worker = threading.Thread(target=run_shard, args=(job["id"], 0), kwargs={"finish": train_jobs.finish_training})
    worker.start()
    deadline = time.monotonic() + 60
    while not jobs.get(job["id"], TEAM)["files"] and time.monotonic() < deadline:
        time.sleep(0.05)
    jobs.cancel(job["id"], TEAM)
    worker.join(60)
    accepted = door.post("/models/diffusion/keep", json=keep)
    assert accepted.status_code == 202
    collect_garbage(database, objects, artifacts, min_age_s=-1.0)
    run_shard(accepted.json()["id"], 0, finish=keep_jobs.finish_keeping)
    model, manifest = made(artifacts, jobs.get(accepted.json()["id"], TEAM), "model")
    card = manifest["card"]
    assert model.name == "half done"
    assert 0 < card["updates"] < card["planned_updates"] == 300_000
    assert f"was cancelled after {card['updates']} of 300000 updates" in card["notes"][0]
    assert len(card["curves"]["loss"]) == card["updates"] // 3
    assert "curves.json" in manifest["objects"]
    load_network(objects.get_blob(manifest["objects"]["weights"]))
    assert door.post("/models/diffusion/keep", json={"job": accepted.json()["id"]}).json()["code"] == "not_a_training"
    assert door.post("/models/diffusion/keep", json={"job": "job-none"}).status_code == 404


def keep_stopped(
    artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore, door: Door, loss: float, **changes: Any
) -> dict[str, Any]:
    """The job that kept a training whose request lacks what older versions did not write, stopped with this weight."""
    request = {"image_set": keep_image_set(artifacts, objects).id, "class": "glioma", "preset": "tiny-32"}
    training = {**door.post("/models/diffusion", json=request).json()["request"], **changes}
    weights = {"raw": {"a": torch.full((2,), loss)}}
    state = ResumeState(weights, [], [Losses(0.5, 0.5)], [], 1.0, "float32")
    asked = {
        "job": "job-of-old", "bundle": objects.put_blob(write_resume(state, {})), "status": "cancelled",
        "training": {name: value for name, value in training.items() if name not in ("n_images", "leakage_waiver")},
        "files": {}, "name": "kept",
    }  # fmt: skip
    job = submit(Caller(owner=TEAM), "diffusion.keep", asked, unit="model").job
    run_shard(job["id"], 0, finish=keep_jobs.finish_keeping)
    return jobs.get(job["id"], TEAM)


def test_a_training_of_an_older_version_can_be_kept(
    door: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore
) -> None:
    _, manifest = made(artifacts, keep_stopped(artifacts, objects, jobs, door, 1.0), "model")
    assert manifest["card"]["n_images"] == 9


def test_weights_that_are_no_numbers_are_not_kept(
    door: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore
) -> None:
    job = keep_stopped(artifacts, objects, jobs, door, float("nan"))
    assert (job["status"], job["error"]["code"]) == ("failed", "weights_not_finite")


def test_guidance_needs_images_whose_class_is_withheld(
    door: Door, artifacts: ArtifactStore, objects: ObjectStore
) -> None:
    overrides = {**MICRO_OVERRIDES, "guidance": 2, "class_dropout": 0}
    request = {"image_set": keep_two_classes(artifacts, objects).id, "preset": "tiny-32", "overrides": overrides}
    answer = door.post("/models/diffusion", json=request)
    assert (answer.status_code, answer.json()["code"]) == (422, "preset_value_invalid")
    assert "class_dropout above 0" in answer.json()["detail"]
    request["overrides"] = {**overrides, "class_dropout": 0.1}
    assert door.post("/models/diffusion", json=request).status_code == 202


def test_nothing_can_be_kept_of_a_training_that_never_began(
    door: Door,
    artifacts: ArtifactStore,
    objects: ObjectStore,
    jobs: JobStore,
) -> None:
    request = {"image_set": keep_image_set(artifacts, objects).id, "class": "glioma", "preset": "tiny-32"}
    job = door.post("/models/diffusion", json=request).json()
    jobs.cancel(job["id"], TEAM)
    answer = door.post("/models/diffusion/keep", json={"job": job["id"]})
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_learned_yet")
