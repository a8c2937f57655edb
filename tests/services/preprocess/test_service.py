"""The job from the HTTP edge to its two artifacts, on a real database, object store and Redis."""

import asyncio
import io
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from services.preprocess import service
from services.preprocess.pipeline import prepare_image
from services.preprocess.reading import read_gray
from services.preprocess.settings import get_preprocess_settings
from shared.app import INTERNAL_TOKEN, OWNER
from shared.artifacts.store import DraftArtifact
from shared.jobs.runner import run_shard

pytestmark = pytest.mark.services


@pytest.fixture
def database_url(tmp_path):
    """SQLite alone: what differs between databases is proved in tests/shared/jobs."""
    return f"sqlite:///{tmp_path / 'synthmri.db'}"


class Client:
    """POSTs to the service's app in this process, as the gateway does over the wire."""

    def __init__(self, app: Any, headers: dict[str, str]) -> None:
        self._app, self._headers = app, headers

    def post(self, url: str, json: Any, headers: dict[str, str] | None = None) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://preprocess") as client:
                return await client.post(url, json=json, headers={**self._headers, **(headers or {})})

        return asyncio.run(send())


def png(seed, shape=(64, 64)):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


FILES = {
    "Training/glioma/a.png": png(0),
    "Training/glioma/b.png": png(0),
    "Training/notumor/c.png": png(1, (60, 64)),
    "Training/notumor/d.png": png(2, (30, 64)),
    "Testing/glioma/e.png": png(0),
    "Testing/notumor/f.png": png(3),
    "Testing/notumor/broken.png": png(4)[:60],
}


@pytest.fixture
def upload(artifacts, objects):
    def store(files, kind="raw"):
        images = []
        for name, data in files.items():
            split, tumour_class, _ = name.split("/")
            facts = {
                "name": name,
                "split": split,
                "class": tumour_class,
                "plane": "axial",
                "sha256": objects.put_blob(data),
            }
            images.append({**facts, "width": 64, "height": 64, "source": None, "parameters": {}})
        return artifacts.create(DraftArtifact("image_set", kind, "ours", {"images": images}), owner="team").id

    return store


@pytest.fixture
def client(artifacts, settings, monkeypatch):
    monkeypatch.setenv("SYNTHMRI_PREPROCESS_SHARD_SIZE", "3")
    get_preprocess_settings.cache_clear()
    from services.preprocess.api import app

    yield Client(app, {INTERNAL_TOKEN: settings.internal_token, OWNER: "team"})
    get_preprocess_settings.cache_clear()


def work_off(jobs, job_id):
    """Run each queued shard here, as a worker would; the last one runs the finishing step too."""
    for shard in jobs.queued_shards(job_id):
        run_shard(job_id, shard, work=service.prepare_shard, finish=service.finish_preprocessing)
    return jobs.get(job_id, "team")


def made(job, artifacts):
    """The preprocessed set's manifest and the report's."""
    found = {entry["kind"]: entry["id"] for entry in job["artifacts"]}
    return tuple(artifacts.manifest(artifacts.get(found[kind], "team")) for kind in ("preprocessed", "analysis"))


def run(client, jobs, artifacts, **body):
    answer = client.post("/preprocess", json={"max_unreadable_share": 0.5, **body})
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"/jobs/{answer.json()['id']}"
    job = work_off(jobs, answer.json()["id"])
    assert job["status"] == "succeeded", job["error"]
    assert job["progress"]["done"] == job["progress"]["total"] == len(FILES)
    assert job["progress"]["unit"] == "image"
    return made(job, artifacts)


def test_rigorous_is_the_default_and_accounts_for_every_image(client, jobs, artifacts, objects, upload):
    raw = upload(FILES)
    image_set, report = run(client, jobs, artifacts, image_set=raw)
    assert [image["name"] for image in image_set["images"]] == [
        "Training/glioma/a.png",
        "Training/notumor/c.png",
        "Training/notumor/d.png",
        "Testing/notumor/f.png",
    ]
    assert image_set["recipe"]["name"] == "rigorous"
    assert image_set["parents"] == report["parents"] == [raw]
    assert {drop["name"]: drop["reason"] for drop in report["report"]["dropped"]} == {
        "Training/glioma/b.png": "duplicate",
        "Testing/glioma/e.png": "in_training",
        "Testing/notumor/broken.png": "truncated_image",
    }
    for image in image_set["images"]:
        assert image["plane"] == "axial"
        stored = read_gray(objects.get_blob(image["sha256"])).pixels_u8
        np.testing.assert_array_equal(stored, prepare_image(FILES[image["source"]], image_set["recipe"]))
    assert set(report["objects"]) == {"chart.png", "sizes.png", "examples.png", "table.csv", "report.html"}
    assert all(objects.has_blob(sha256) for sha256 in report["objects"].values())


def test_study_drops_by_its_own_rules_and_stores_jpeg(client, jobs, artifacts, upload):
    image_set, report = run(client, jobs, artifacts, image_set=upload(FILES), recipe="study", name="as published")
    names = [image["name"] for image in image_set["images"]]
    assert names == [
        f"{stem}.jpg" for stem in ("Training/glioma/a", "Training/notumor/c", "Testing/glioma/e", "Testing/notumor/f")
    ]
    assert image_set["name"] == "as published"
    assert report["report"]["drop_reasons"] == {"duplicate": 1, "not_square": 1, "truncated_image": 1}


def test_same_set_and_recipe_give_the_same_hashes(client, jobs, artifacts, upload):
    raw, recipe = upload(FILES), {"size_px": 32, "clahe": None}
    first, second = (run(client, jobs, artifacts, image_set=raw, recipe=recipe) for _ in range(2))
    assert first[0]["images"] == second[0]["images"]
    assert first[1]["objects"] == second[1]["objects"]


def test_too_many_unreadable_files_fail_the_job_and_leave_nothing(client, jobs, artifacts, upload):
    answer = client.post("/preprocess", json={"image_set": upload(FILES)})
    job = work_off(jobs, answer.json()["id"])
    assert job["status"] == "failed"
    assert job["error"]["code"] == "too_many_unreadable"
    assert "broken.png" in job["error"]["detail"]
    assert artifacts.list("team", "report")[0] == []


def test_a_recipe_that_drops_everything_fails_with_a_sentence(client, jobs, artifacts, upload):
    raw = upload({"Training/glioma/wide.png": png(1, (30, 64))})
    job = work_off(jobs, client.post("/preprocess", json={"image_set": raw, "recipe": "study"}).json()["id"])
    assert job["error"]["code"] == "no_images_left"


def test_a_cancel_between_two_images_stops_the_shard(client, jobs, artifacts, upload, monkeypatch):
    """The job is cancelled when the first image is asked for; the rest of the shard is not stored."""
    monkeypatch.setenv("SYNTHMRI_PREPROCESS_SHARD_SIZE", "200")
    monkeypatch.setenv("SYNTHMRI_PREPROCESS_THREADS", "1")
    get_preprocess_settings.cache_clear()
    raw = upload({f"Training/glioma/{index}.png": png(index) for index in range(200)})
    job_id = client.post("/preprocess", json={"image_set": raw}).json()["id"]
    n_prepared = 0

    def work(execution):
        def cancel_then_read(sha256):
            nonlocal n_prepared
            if n_prepared == 0:
                jobs.cancel(job_id, "team")
            n_prepared += 1
            return execution.objects.get_blob(sha256)

        objects = SimpleNamespace(get_blob=cancel_then_read, put_blob=execution.objects.put_blob)
        return service.prepare_shard(replace(execution, objects=objects))

    run_shard(job_id, 0, work=work, finish=service.finish_preprocessing)
    assert jobs.get(job_id, "team")["status"] == "cancelled"
    assert n_prepared < 100
    assert artifacts.list("team", "report")[0] == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "invalid_request"),
        ({"image_set": "set-unknown"}, 404, "image_set_not_found"),
        ({"image_set": "RAW", "recipe": "best"}, 422, "invalid_request"),
        ({"image_set": "RAW", "recipe": {"size_px": 4}}, 422, "invalid_request"),
        ({"image_set": "RAW", "recipe": {"rotate": True}}, 422, "invalid_request"),
        ({"image_set": "RAW", "rceipe": "study"}, 422, "invalid_request"),
        ({"image_set": "RAW", "name": "a\x00b"}, 422, "invalid_request"),
        ({"image_set": "RAW\x00"}, 422, "invalid_request"),
        ({"image_set": "RAW", "max_unreadable_share": 2}, 422, "invalid_request"),
        ({"image_set": "SYNTHETIC"}, 422, "not_a_raw_set"),
        ({"image_set": "EMPTY"}, 422, "empty_image_set"),
    ],
)
def test_bad_requests_are_refused_before_a_job_exists(client, jobs, upload, body, status, code):
    kept = {"RAW": lambda: upload(FILES), "SYNTHETIC": lambda: upload(FILES, "synthetic"), "EMPTY": lambda: upload({})}
    if body.get("image_set") in kept:
        body = {**body, "image_set": kept[body["image_set"]]()}
    answer = client.post("/preprocess", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["detail"]


def test_another_teams_set_is_not_found(client, upload):
    answer = client.post("/preprocess", json={"image_set": upload(FILES)}, headers={OWNER: "others"})
    assert answer.json()["code"] == "image_set_not_found"
