"""`start_from`: trainings that go on from a model, at the service's edge."""

from typing import Any

import pytest

from services.generator.models.checkpoints import read_tensors, write_weights
from services.generator.models.preset import Preset
from shared.app import INTERNAL_TOKEN, OWNER
from shared.artifacts.store import EVERYONE, Artifact, ArtifactStore, DraftArtifact
from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from shared.settings import Settings
from shared.tumour import CLASS_ORDER
from tests.services.generator.micro import MICRO, conditional, random_network
from tests.services.generator.test_keeping import keep_two_classes
from tests.services.generator.test_service import TEAM, Door, keep_image_set, keep_model, made, work

pytestmark = pytest.mark.services
TWO = MICRO.replace({"classes": ["glioma", "pituitary"]})
STILL = {"learning_rate": 1e-30, "epochs": 1}


@pytest.fixture
def door(settings: Settings, artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> Door:
    from services.generator.api import app

    monkeypatch.setenv("SYNTHMRI_TORCH_THREADS", "1")
    return Door(app, {INTERNAL_TOKEN: settings.internal_token, OWNER: TEAM})


def keep_for_everyone(artifacts: ArtifactStore, objects: ObjectStore, preset: Preset) -> Artifact:
    weights = objects.put_blob(write_weights(random_network(3, preset.unet).state_dict(), preset))
    body: dict[str, Any] = {"objects": {"weights": weights}, "config": {"preset": preset.model_dump(mode="json")}}
    return artifacts.create(DraftArtifact("model", "diffusion", "shipped", body), owner=EVERYONE)


def test_the_model_that_came_with_the_platform_is_gone_on_from(
    door: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore
) -> None:
    image_set, start = keep_two_classes(artifacts, objects), keep_for_everyone(artifacts, objects, TWO)
    answer = door.post("/models/diffusion", json={"image_set": image_set.id, "start_from": start.id, **STILL})
    assert answer.status_code == 202, answer.text
    model, manifest = made(artifacts, work(jobs, answer.json()), "model")
    weights = artifacts.manifest(start)["objects"]["weights"]
    assert manifest["card"]["start_from"] == {"model": start.id, "weights": weights}
    assert manifest["config"]["preset"] == {**TWO.model_dump(mode="json"), **STILL}
    assert set(manifest["parents"]) == {image_set.id, start.id}
    assert (model.owner, manifest["config"]["classes"]) == (TEAM, ["glioma", "pituitary"])
    before, _ = read_tensors(objects.get_blob(weights))
    after, _ = read_tensors(objects.get_blob(manifest["objects"]["raw_weights"]))
    assert all(after[name].allclose(tensor, rtol=1e-6, atol=1e-12) for name, tensor in before.items())


def test_a_model_of_one_class_may_learn_another_and_another_size(
    door: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore
) -> None:
    images, start = keep_two_classes(artifacts, objects), keep_model(artifacts, objects)  # of glioma
    request = {"image_set": images.id, "class": "pituitary", "start_from": start.id, "size": 8, **STILL}
    model, manifest = made(artifacts, work(jobs, door.post("/models/diffusion", json=request).json()), "model")
    assert (model.tumour_class, manifest["config"]["size_px"]) == ("pituitary", 8)


def test_without_a_start_nothing_is_said_of_one(
    door: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore
) -> None:
    image_set = keep_image_set(artifacts, objects)
    job = door.post("/models/diffusion", json={"image_set": image_set.id, "class": "glioma", "epochs": 1}).json()
    assert job["request"]["preset"]["name"] == "tiny"
    _, manifest = made(artifacts, work(jobs, job), "model")
    assert "start_from" not in manifest["card"]
    assert manifest["parents"] == [image_set.id]


@pytest.mark.parametrize(
    ("conditioned", "request_more", "says"),
    [
        (True, {"class": "glioma"}, "leave `class` out"),
        (False, {}, "name the `class`"),
        (False, {"class": "glioma", "preset": "tiny-32"}, "another unet"),
        (True, {"overrides": {"classes": ["glioma", "pituitary"]}}, "another unet and classes"),
        (True, {"overrides": {"schedule": {"betas": "cosine"}}}, "another schedule"),
        (True, {"overrides": {"transpose": True, "value_range": [0, 1]}}, "another value_range and transpose"),
    ],
)
def test_a_start_that_does_not_fit_is_refused_at_once(
    conditioned: bool,
    request_more: dict[str, Any],
    says: str,
    door: Door,
    artifacts: ArtifactStore,
    objects: ObjectStore,
) -> None:
    preset = conditional(MICRO) if conditioned else MICRO
    start = (
        keep_for_everyone(artifacts, objects, preset) if conditioned else keep_model(artifacts, objects, preset=preset)
    )
    request = {"image_set": keep_two_classes(artifacts, objects).id, "start_from": start.id, **request_more}
    answer = door.post("/models/diffusion", json=request)
    assert (answer.status_code, answer.json()["code"]) == (422, "starting_model_differs")
    assert says in answer.json()["detail"]


def test_a_set_without_a_class_of_the_model_is_refused(
    door: Door, artifacts: ArtifactStore, objects: ObjectStore
) -> None:
    start = keep_for_everyone(artifacts, objects, conditional(MICRO))
    request = {"image_set": keep_two_classes(artifacts, objects).id, "start_from": start.id}
    answer = door.post("/models/diffusion", json=request)
    assert (answer.status_code, answer.json()["code"]) == (422, "too_few_images")
    assert any(each in answer.json()["detail"] for each in CLASS_ORDER)


def test_only_diffusion_models_that_one_may_see_are_begun_with(
    door: Door, artifacts: ArtifactStore, objects: ObjectStore
) -> None:
    image_set = keep_two_classes(artifacts, objects)
    classifier = keep_model(artifacts, objects, kind="classifier")
    foreign = artifacts.create(DraftArtifact("model", "diffusion", "foreign", {}, {}, "glioma"), owner="others")
    for model, status in ((classifier.id, 422), (foreign.id, 404), ("mdl-none", 404)):
        answer = door.post("/models/diffusion", json={"image_set": image_set.id, "start_from": model})
        assert answer.status_code == status, answer.text
