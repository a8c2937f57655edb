"""The door for weights from elsewhere: what is refused at once, what the job refuses, and what it makes."""

import asyncio
import io
import json
import pickle
import zipfile
from typing import Any

import httpx
import pytest
import safetensors.torch
import torch

from services.generator import import_jobs, sources
from services.generator.models.checkpoints import write_weights
from services.generator.models.training_record import LISTED
from shared.app import INTERNAL_TOKEN, OWNER
from shared.artifacts.store import ArtifactStore, DraftArtifact
from shared.errors import ObjectDamaged, ObjectNotFound
from shared.jobs.runner import run_shard
from shared.jobs.store import JobStore
from shared.objects import ObjectStore, blob_key
from shared.settings import Settings, get_settings
from tests.services.generator.micro import MICRO, random_network

pytestmark = pytest.mark.services
CONFIG = json.dumps(MICRO.model_dump(mode="json"))


class Door:
    """Calls the service's app as the gateway would."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, method: str, path: str, owner: str = "team", **request: Any) -> httpx.Response:
        from services.generator.api import app

        async def send() -> httpx.Response:
            headers = {INTERNAL_TOKEN: self._token, OWNER: owner, **request.pop("headers", {})}
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://generator") as client:
                return await client.request(method, path, headers=headers, **request)

        return asyncio.run(send())

    def bring(self, data: bytes, **params: Any) -> httpx.Response:
        """Import `data` as a micro network of glioma, unless `params` say otherwise."""
        asked = {"preset": "tiny-32", "class": "glioma", "config": CONFIG, **params}
        headers = asked.pop("headers", {})
        wanted = {name: value for name, value in asked.items() if value is not None}
        return self("POST", "/models/import", params=wanted, files={"file": ("net.safetensors", data)}, headers=headers)


@pytest.fixture
def door(settings: Settings, artifacts: ArtifactStore) -> Door:
    sources.load_network.cache_clear()
    return Door(settings.internal_token)


def weights() -> bytes:
    return safetensors.torch.save(random_network().state_dict())


SELF_DESCRIBED: dict[str, Any] = {"preset": None, "class": None, "config": None}
"""Parameters of a request that leaves all to the file."""


def recorded(**said: Any) -> bytes:
    """Weights of a micro network of glioma that say how they were trained."""
    facts = {"class": "glioma", "n_images": 10, "epochs": 2, "updates": 6, "precision": "bfloat16", "seed": 3, **said}
    return write_weights(random_network().state_dict(), MICRO, facts)


def take_in(jobs: JobStore, answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    assert run_shard(answer.json()["id"], 0, finish=import_jobs.finish_import)
    return jobs.get(answer.json()["id"], "team")


def test_an_imported_model_is_a_diffusion_model_that_says_where_it_came_from(
    door: Door, artifacts: ArtifactStore, jobs: JobStore
) -> None:
    view = take_in(jobs, door.bring(weights(), name="from afar"))
    assert view["status"] == "succeeded", view["error"]
    model = sources.find_model("team", "glioma", view["artifacts"][0]["id"])
    manifest = artifacts.manifest(model)
    assert (model.kind, model.name, model.summary["imported"]) == ("diffusion", "from afar", True)
    imported = manifest["card"]["imported"]
    assert (imported["file"], imported["sha256"]) == ("net.safetensors", view["request"]["weights"])
    network, preset = sources.load_network(manifest["objects"]["weights"])
    assert preset == MICRO.model_copy(update={"name": "tiny-32"})
    brought = random_network().state_dict()
    assert all(torch.equal(tensor, brought[name]) for name, tensor in network.state_dict().items())


def test_an_export_comes_back_as_the_same_weights(
    door: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore
) -> None:
    first = take_in(jobs, door.bring(weights()))["artifacts"][0]["id"]
    answer = door("GET", f"/models/{first}/export")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert f'filename="{first}.zip"' in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == ["README.txt", "config.json", "sample.py", "weights.safetensors"]
        config = json.loads(archive.read("config.json"))
        data = archive.read("weights.safetensors")
    assert answer.content == door("GET", f"/models/{first}/export").content
    again = take_in(jobs, door.bring(data, config=json.dumps(config["preset"])))["artifacts"][0]["id"]
    stored = [
        artifacts.manifest(artifacts.get(model, "team", "model"))["objects"]["weights"] for model in (first, again)
    ]
    assert stored[0] == stored[1]


def test_an_export_of_damaged_weights_breaks_off_unreadably(
    door: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore
) -> None:
    model = artifacts.get(take_in(jobs, door.bring(weights()))["artifacts"][0]["id"], "team", "model")
    stored = artifacts.manifest(model)["objects"]["weights"]
    data = bytearray(objects.get_blob(stored))
    data[-1] ^= 1
    objects.put(blob_key(stored), bytes(data))
    sent: list[bytes] = []
    with pytest.raises(ObjectDamaged):
        sent.extend(import_jobs.stream_export("team", model.id))
    assert not zipfile.is_zipfile(io.BytesIO(b"".join(sent)))
    objects.delete(blob_key(stored))
    with pytest.raises(ObjectNotFound):
        import_jobs.stream_export("team", model.id)


def test_a_class_conditional_network_brings_its_classes(door: Door, artifacts: ArtifactStore, jobs: JobStore) -> None:
    preset = MICRO.replace({"classes": ["glioma", "notumor"]})
    data = safetensors.torch.save(random_network(config=preset.unet).state_dict())
    config = json.dumps({**json.loads(CONFIG), "unet": preset.unet.model_dump(), "classes": preset.classes})
    view = take_in(jobs, door.bring(data, config=config, **{"class": None}))
    assert view["status"] == "succeeded", view["error"]
    model = artifacts.get(view["artifacts"][0]["id"], "team", "model")
    assert sources.list_classes(model) == ("glioma", "notumor")


def test_what_a_file_says_of_its_training_is_in_the_card_as_its_word(
    door: Door, artifacts: ArtifactStore, jobs: JobStore
) -> None:
    image_set = artifacts.create(DraftArtifact("image_set", "preprocessed", "s", {"images": []}), owner="team").id
    facts = {"image_set": image_set, "notes": ["leaky"], "curves": {"loss": [0.5, 0.25]}, "torch": "2.0", "extra": {}}
    view = take_in(jobs, door.bring(recorded(**facts), **SELF_DESCRIBED))
    assert view["status"] == "succeeded", view["error"]
    model = sources.find_model("team", "glioma", view["artifacts"][0]["id"])
    manifest = artifacts.manifest(model)
    card = manifest["card"]
    assert (manifest["parents"], manifest["seed"], manifest["config"]["preset"]["name"]) == ([image_set], 3, MICRO.name)
    assert (card["n_images"], card["curves"]["loss"], card["torch"]) == (10, [0.5, 0.25], "2.0")
    assert card["notes"] == [
        "Imported: of the training this card says what the file said of itself; it was not made here.",
        "leaky",
    ]
    assert "extra" not in card
    assert model.summary["imported"]
    assert {name: model.summary[name] for name in LISTED if name in card} == {
        name: card[name] for name in LISTED if name in card
    }
    assert sources.read_precision(manifest) == "bfloat16"


@pytest.mark.parametrize("owner", ["others", None])
def test_a_set_that_is_not_ones_own_is_no_parent(
    door: Door, artifacts: ArtifactStore, jobs: JobStore, owner: str | None
) -> None:
    image_set = "set-5f0c2a9be1d24c7d90aa"
    if owner is not None:
        image_set = artifacts.create(DraftArtifact("image_set", "preprocessed", "s", {"images": []}), owner=owner).id
    view = take_in(jobs, door.bring(recorded(image_set=image_set, start_from="mdl-1"), **SELF_DESCRIBED))
    manifest = artifacts.manifest(artifacts.get(view["artifacts"][0]["id"], "team"))
    assert manifest["parents"] == []
    assert manifest["card"]["notes"][1] == (
        f"The file names {image_set} as the set it was trained on, which is not yours here."
    )


@pytest.mark.parametrize(
    ("data", "params", "code"),
    [
        (pickle.dumps({}), {}, "checkpoint_is_pickle"),
        (b"PK\x03\x04 a torch.save", {}, "checkpoint_is_pickle"),
        (b"no weights at all", {}, "not_safetensors"),
        (weights()[:-4], {}, "not_safetensors"),
        (b"\x1b" + bytes(7) + b'{"a":{"dtype":"F\\ud800"}}  ', {}, "not_safetensors"),
        (weights(), {"config": '{"unet": {"\\ud800": 1}}'}, "preset_value_invalid"),
        (weights(), {"config": '{"classes": ["\\ud800", "glioma"]}'}, "preset_value_invalid"),
        (weights(), {"class": None}, "class_unclear"),
        (weights(), {"preset": None}, "preset_unclear"),
        (recorded(), {"class": "notumor"}, "class_unclear"),
        (recorded(epochs="many"), {}, "record_unreadable"),
        (recorded(device="\ud800"), {}, "record_unreadable"),
        (weights(), {"config": '{"classes": ["glioma", "notumor"]}'}, "class_unclear"),
        (weights(), {"config": "[1]"}, "config_unreadable"),
        (weights(), {"config": '{"unet": {"channels": "many"}}'}, "preset_value_invalid"),
        (weights(), {"preset": "huge"}, "preset_unknown"),
        (weights(), {"class": "cyst"}, "invalid_request"),
    ],
)
def test_what_cannot_be_a_model_is_refused_at_once(
    door: Door, jobs: JobStore, objects: ObjectStore, data: bytes, params: dict[str, Any], code: str
) -> None:
    answer = door.bring(data, **params)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert jobs.list("team") == ([], None)
    assert list(objects.list("blobs/")) == []


def test_too_large_a_file_is_refused(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHMRI_IMPORT_MAX_BYTES", "1000")
    get_settings.cache_clear()
    answer = door.bring(weights())
    assert (answer.status_code, answer.json()["code"], answer.json()["limit"]) == (413, "weights_too_large", 1000)


def test_a_network_of_another_shape_fails_the_job_by_name(door: Door, jobs: JobStore) -> None:
    view = take_in(jobs, door.bring(weights(), config=None))
    assert (view["status"], view["error"]["code"]) == ("failed", "tensors_do_not_fit")
    assert "48 missing (down_blocks.1.downsampler.op.conv.weight" in view["error"]["detail"]
    state = random_network().state_dict()
    state["out.2.conv.bias"][0] = float("nan")
    view = take_in(jobs, door.bring(safetensors.torch.save(state)))
    assert view["error"]["code"] == "weights_not_finite"


def test_the_same_key_and_file_make_one_job_and_another_file_is_refused(door: Door) -> None:
    headers = {"Idempotency-Key": "import-once"}
    first, again = (door.bring(weights(), headers=headers).json()["id"] for _ in range(2))
    assert first == again
    other = safetensors.torch.save(random_network(seed=1).state_dict())
    assert door.bring(other, headers=headers).json()["code"] == "idempotency_key_reused"


def test_only_diffusion_models_of_ones_own_are_exported(door: Door, jobs: JobStore) -> None:
    model = take_in(jobs, door.bring(weights()))["artifacts"][0]["id"]
    assert door("GET", f"/models/{model}/export", owner="others").json()["code"] == "model_not_found"
    assert door("GET", "/models/mdl-0/export").json()["code"] == "model_not_found"
