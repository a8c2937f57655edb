"""Leaving images out of a set, over HTTP with real stores: what the new set keeps, and what is refused."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from services.evaluator import exclude_jobs
from shared.artifacts.annotations import correct_images
from shared.artifacts.store import ArtifactStore, DraftArtifact
from shared.database import get_database
from shared.jobs.runner import run_shard
from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from tests.services.evaluator.image_sets import OWNER, phantoms_u8, served_api, store_set

pytestmark = pytest.mark.services


@pytest.fixture
def client(artifacts: ArtifactStore) -> Iterator[httpx.Client]:
    with served_api() as opened:
        yield opened


@pytest.fixture
def synthetic(artifacts: ArtifactStore, objects: ObjectStore) -> str:
    groups = {"glioma": phantoms_u8("glioma", 4, 1, 16), "notumor": phantoms_u8("notumor", 2, 2, 16)}
    return store_set(artifacts, objects, "synthetic", groups, recipe=None, seed=3)


def store_audit(artifacts: ArtifactStore, set_id: str, copies: list[str] | None, kind: str = "audit") -> str:
    """A report with these copies; None: one that did not look for any."""
    found = [{"name": name, "nearest": "Training/glioma/9.png", "correlation": 0.99} for name in copies or []]
    classes = {"glioma": {} if copies is None else {"memorisation": {"copies": found}}, "notumor": {}}
    body = {"report": {"synthetic": set_id, "real": "set-real", "classes": classes}, "objects": {}}
    return artifacts.create(DraftArtifact("report", kind, "a", body), owner=OWNER).id


def exclude(client: httpx.Client, jobs: JobStore, set_id: str, request: dict[str, Any]) -> str:
    """The id of the new set."""
    answer = client.post(f"/image-sets/{set_id}/exclude", json=request)
    assert answer.status_code == 202, answer.text
    job_id = answer.json()["id"]
    assert answer.headers["Location"] == f"/jobs/{job_id}"
    assert run_shard(job_id, 0, finish=exclude_jobs.finish_exclusion)
    job = jobs.get(job_id, OWNER)
    assert job["status"] == "succeeded", job
    assert job["progress"]["done"] == job["progress"]["total"]
    return str(job["artifacts"][0]["id"])


def test_the_new_set_lacks_the_copies_and_says_why(
    client: httpx.Client, jobs: JobStore, artifacts: ArtifactStore, synthetic: str
) -> None:
    before = artifacts.manifest(artifacts.get(synthetic, OWNER))
    report = store_audit(artifacts, synthetic, ["glioma/1.png", "glioma/3.png"])
    made = artifacts.get(exclude(client, jobs, synthetic, {"report": report, "name": "clean"}), OWNER, "image_set")
    after = artifacts.manifest(made)
    kept = [image for image in before["images"] if image["name"] not in ("glioma/1.png", "glioma/3.png")]
    assert after["images"] == kept
    assert [image["name"] for image in after["excluded"]] == ["glioma/1.png", "glioma/3.png"]
    assert after["excluded"][0]["reason"] == "copy of Training/glioma/9.png of set-real"
    assert (made.kind, made.name, made.summary["n_images"], made.summary["n_excluded"]) == ("synthetic", "clean", 4, 2)
    assert after["parents"] == [synthetic, report]
    assert after["seed"] == 3
    assert len(artifacts.manifest(artifacts.get(synthetic, OWNER))["images"]) == 6


def test_a_second_exclusion_remembers_the_first(
    client: httpx.Client, jobs: JobStore, artifacts: ArtifactStore, synthetic: str
) -> None:
    once = exclude(client, jobs, synthetic, {"images": ["glioma/0.png"]})
    twice = artifacts.get(exclude(client, jobs, once, {"images": ["notumor/1.png"]}), OWNER, "image_set")
    excluded = artifacts.manifest(twice)["excluded"]
    assert [image["name"] for image in excluded] == ["glioma/0.png", "notumor/1.png"]
    assert twice.name == "synthetic without 1 without 1"


def test_an_uploaded_set_keeps_its_counts_and_what_people_said(
    client: httpx.Client, jobs: JobStore, artifacts: ArtifactStore, objects: ObjectStore
) -> None:
    images = {"Training/glioma": phantoms_u8("glioma", 3, 1, 16), "Testing/notumor": phantoms_u8("notumor", 2, 2, 16)}
    raw = artifacts.get(store_set(artifacts, objects, "raw", images), OWNER)
    body = {"images": artifacts.manifest(raw)["images"]}
    counts = {"classes": {"glioma": 3, "notumor": 2}, "splits": {"Training": 3, "Testing": 2}}
    draft = DraftArtifact("image_set", "raw", "raw", body, {"n_images": 5, **counts})
    raw = artifacts.create(draft, owner=OWNER)
    correct_images(get_database(), raw, {"Training/glioma/1.png": {"plane": "axial"}}, by="key")
    made = artifacts.get(exclude(client, jobs, raw.id, {"images": ["Training/glioma/0.png"]}), OWNER, "image_set")
    assert made.summary["classes"] == {"glioma": 2, "notumor": 2}
    assert made.summary["splits"] == {"Training": 2, "Testing": 2}
    assert artifacts.manifest(made)["images"][0]["plane_source"] == "user"


def test_what_cannot_be_left_out_is_refused_and_leaves_no_job(
    client: httpx.Client, jobs: JobStore, artifacts: ArtifactStore, objects: ObjectStore, synthetic: str
) -> None:
    other = store_set(artifacts, objects, "synthetic", {"glioma": phantoms_u8("glioma", 2, 5, 16)})
    prepared = store_set(artifacts, objects, "preprocessed", {"glioma": phantoms_u8("glioma", 2, 5, 16)})
    everything = [image["name"] for image in artifacts.manifest(artifacts.get(synthetic, OWNER))["images"]]
    refused: list[tuple[str, dict[str, Any], int, str]] = [
        (synthetic, {}, 422, "invalid_request"),
        (synthetic, {"images": []}, 422, "invalid_request"),
        (synthetic, {"images": ["a\nb"]}, 422, "invalid_request"),
        (synthetic, {"images": ["glioma/0.png"], "report": "rep-1"}, 422, "invalid_request"),
        (synthetic, {"images": ["glioma/0.png", "glioma/7.png"]}, 404, "image_not_found"),
        (synthetic, {"images": everything}, 422, "no_images_left"),
        (synthetic, {"report": "rep-none"}, 404, "report_not_found"),
        (synthetic, {"report": synthetic}, 404, "report_not_found"),
        (synthetic, {"report": store_audit(artifacts, other, ["glioma/0.png"])}, 422, "report_of_another_set"),
        (synthetic, {"report": store_audit(artifacts, synthetic, None)}, 409, "memorisation_not_checked"),
        (synthetic, {"report": store_audit(artifacts, synthetic, [])}, 409, "nothing_to_exclude"),
        (synthetic, {"report": store_audit(artifacts, synthetic, [], "evaluation")}, 422, "not_an_audit"),
        (prepared, {"images": ["glioma/0.png"]}, 422, "set_is_preprocessed"),
        ("set-none", {"images": ["glioma/0.png"]}, 404, "image_set_not_found"),
    ]
    for set_id, request, status, code in refused:
        answer = client.post(f"/image-sets/{set_id}/exclude", json=request)
        assert (answer.status_code, answer.json()["code"]) == (status, code), (request, answer.text)
    missing = client.post(f"/image-sets/{synthetic}/exclude", json={"images": ["glioma/7.png"]}).json()
    assert missing["missing"] == ["glioma/7.png"]
    headers = {"X-SynthMRI-Owner": "team-b"}
    stranger = client.post(f"/image-sets/{synthetic}/exclude", json={"images": ["glioma/0.png"]}, headers=headers)
    assert stranger.status_code == 404
    assert jobs.list(OWNER)[0] == []
