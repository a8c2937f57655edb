"""Audits over HTTP with real stores; shards run in this process. What the checks find is proved beside each check."""

import csv
import io
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from services.evaluator import audit_jobs
from shared.artifacts.store import EVERYONE, Artifact, ArtifactStore, DraftArtifact
from shared.jobs.runner import run_shard
from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from tests.services.evaluator.image_sets import OWNER, phantoms_u8, served_api, store_set
from tests.support.workers import wait_for

pytestmark = pytest.mark.services
CHEAP = ["memorisation", "shortcuts", "diversity"]
CLASSES = ("glioma", "notumor")


@pytest.fixture
def client(artifacts: ArtifactStore) -> Iterator[httpx.Client]:
    with served_api() as opened:
        yield opened


@pytest.fixture
def sets(artifacts: ArtifactStore, objects: ObjectStore) -> dict[str, str]:
    """A real set of two classes, and a synthetic one whose gliomas end with two Training images, one mirrored."""
    real = {f"Training/{name}": phantoms_u8(name, 12, 1) for name in CLASSES}
    real |= {f"Testing/{name}": phantoms_u8(name, 8, 2) for name in CLASSES}
    copies = np.stack([real["Training/glioma"][3], real["Training/glioma"][7][:, ::-1]])
    synthetic = {name: phantoms_u8(name, 8, 3) for name in CLASSES}
    synthetic["glioma"] = np.concatenate([synthetic["glioma"], copies])
    return {
        "synthetic": store_set(artifacts, objects, "synthetic", synthetic),
        "real": store_set(artifacts, objects, "preprocessed", real),
    }


def start(client: httpx.Client, request: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/audit", json=request)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == f"/jobs/{job['id']}"
    return job


def work(jobs: JobStore, job: dict[str, Any]) -> dict[str, Any]:
    """Do all shards, the last first, and give the job as it is then."""
    for number in reversed(jobs.queued_shards(job["id"])):
        run_shard(job["id"], number, work=audit_jobs.audit_part, finish=audit_jobs.finish_audit)
    return jobs.get(job["id"], OWNER)


def audit(
    client: httpx.Client, jobs: JobStore, artifacts: ArtifactStore, request: dict[str, Any]
) -> tuple[Artifact, dict[str, Any]]:
    """The finished report and its manifest."""
    job = work(jobs, start(client, request))
    assert job["status"] == "succeeded", job["error"]
    assert job["progress"]["done"] == job["progress"]["total"]
    artifact = artifacts.get(job["artifacts"][0]["id"], OWNER, "report")
    return artifact, artifacts.manifest(artifact)


def test_an_audit_names_the_planted_copies_and_shows_what_it_found(
    client: httpx.Client, jobs: JobStore, artifacts: ArtifactStore, objects: ObjectStore, sets: dict[str, str]
) -> None:
    artifact, manifest = audit(client, jobs, artifacts, {**sets, "checks": CHEAP})
    report = manifest["report"]
    assert (artifact.kind, artifact.summary["synthetic"], artifact.summary["copies"]) == ("audit", sets["synthetic"], 2)
    assert manifest["parents"] == [sets["synthetic"], sets["real"]]
    assert list(report["classes"]) == list(CLASSES)
    glioma = report["classes"]["glioma"]
    assert (glioma["n_synthetic"], glioma["n_reference"], glioma["n_baseline"]) == (10, 12, 8)
    copies = {copy["name"]: (copy["nearest"], copy["mirrored"]) for copy in glioma["memorisation"]["copies"]}
    assert copies == {
        "glioma/8.png": ("Training/glioma/3.png", False),
        "glioma/9.png": ("Training/glioma/7.png", True),
    }
    assert report["usefulness"] is None
    assert any(f["check"] == "memorisation" and f["severity"] == "problem" for f in report["findings"])
    files = {name: objects.get_blob(sha256) for name, sha256 in manifest["objects"].items()}
    pictures = {"chart.png", "spectra.png", "embedding.png", "nearest-glioma.png", "nearest-notumor.png"}
    assert files.keys() == pictures | {"report.html", "table.csv", "copies.csv", "nearest.csv"}
    for name in pictures:
        with Image.open(io.BytesIO(files[name])) as picture:
            assert min(picture.size) > 300, name
    assert [row["name"] for row in _rows(files["copies.csv"])] == list(copies)
    assert len(_rows(files["nearest.csv"])) == 18
    assert {row["row"] for row in _rows(files["table.csv"])} == {"finding", "cue", "detector"}
    page = files["report.html"].decode()
    assert all(f"{name}" in page for name in copies)
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert "nearest" not in report["classes"]["glioma"]["memorisation"]  # long lists are in nearest.csv


def _rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode())))


def test_the_same_request_gives_the_same_report(
    client: httpx.Client, jobs: JobStore, artifacts: ArtifactStore, sets: dict[str, str]
) -> None:
    request = {**sets, "class": "glioma", "checks": ["memorisation", "shortcuts"], "seed": 5, "name": "twice"}
    (first, a), (_, b) = (audit(client, jobs, artifacts, request) for _ in range(2))
    assert json.dumps(a["report"]) == json.dumps(b["report"])
    assert a["objects"] == b["objects"]
    assert (first.name, first.tumour_class) == ("twice", "glioma")


def test_usefulness_trains_on_both_kinds_with_three_seeds(
    client: httpx.Client, jobs: JobStore, artifacts: ArtifactStore, objects: ObjectStore, sets: dict[str, str]
) -> None:
    job = start(client, {**sets, "checks": ["usefulness"], "updates": 5})
    assert len(jobs.queued_shards(job["id"])) == 6
    done = work(jobs, job)
    assert done["status"] == "succeeded", done["error"]
    assert done["progress"]["done"] == done["progress"]["total"]
    manifest = artifacts.manifest(artifacts.get(done["artifacts"][0]["id"], OWNER, "report"))
    usefulness = manifest["report"]["usefulness"]
    assert all(0 <= usefulness[kind]["accuracy"] <= 1 for kind in ("synthetic", "real"))
    assert manifest["objects"].keys() == {"chart.png", "report.html", "table.csv"}
    rows = _rows(objects.get_blob(manifest["objects"]["table.csv"]))
    said = [row["what"] for row in rows if row["row"] == "usefulness"]
    assert said[:2] == [f"accuracy on real images after training on {kind} ones" for kind in ("synthetic", "real")]
    assert len(said) == 3  # and the difference


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"synthetic": "set-none"}, 404, "image_set_not_found"),
        ({"real": "set-none"}, 404, "image_set_not_found"),
        ({"class": "glioblastoma"}, 422, "invalid_request"),
        ({"class": "pituitary"}, 422, "no_such_images"),
        ({"split": "all"}, 422, "invalid_request"),
        ({"checks": []}, 422, "invalid_request"),
        ({"checks": ["memorisation", "memorisation"]}, 422, "invalid_request"),
        ({"checks": ["beauty"]}, 422, "invalid_request"),
        ({"checks": ["usefulness"], "class": "glioma"}, 422, "usefulness_not_measurable"),
        ({"updates": 0}, 422, "invalid_request"),
        ({"seed": -1}, 422, "invalid_request"),
        ({"name": "a\x00b"}, 422, "invalid_request"),
        ({"synthetic": "../set"}, 422, "invalid_request"),
        ({"unknown": 1}, 422, "invalid_request"),
    ],
)
def test_bad_requests_are_named_and_leave_no_job(
    client: httpx.Client, jobs: JobStore, sets: dict[str, str], change: dict[str, Any], status: int, code: str
) -> None:
    answer = client.post("/audit", json={**sets, **change})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert jobs.list(OWNER)[0] == []


def test_sets_that_cannot_be_compared_are_refused_at_once(
    client: httpx.Client, jobs: JobStore, artifacts: ArtifactStore, objects: ObjectStore, sets: dict[str, str]
) -> None:
    few = store_set(artifacts, objects, "synthetic", {"glioma": phantoms_u8("glioma", 4, 9)})
    answer = client.post("/audit", json={**sets, "synthetic": few})
    assert (answer.status_code, answer.json()["code"]) == (422, "too_few_images")
    assert answer.json()["minimum"] == 5
    training_only = store_set(artifacts, objects, "preprocessed", {"Training/glioma": phantoms_u8("glioma", 6, 9)})
    answer = client.post("/audit", json={**sets, "real": training_only, "class": "glioma", "split": "Testing"})
    assert (answer.status_code, answer.json()["code"]) == (422, "no_such_images")
    assert "Testing" in answer.json()["detail"]
    stranger = client.post("/audit", json=sets, headers={"X-SynthMRI-Owner": "team-b"})
    assert stranger.status_code == 404
    assert client.post("/audit", json=sets, headers={"X-Internal-Token": "wrong"}).status_code == 403
    assert jobs.list(OWNER)[0] == []


def test_what_a_reader_must_know_is_said_at_once(
    client: httpx.Client, artifacts: ArtifactStore, objects: ObjectStore, sets: dict[str, str]
) -> None:
    def warnings(**change: Any) -> str:
        request = start(client, {**sets, **change})["request"]
        assert len(request["warning_codes"]) == len(request["warnings"])
        return " ".join([*request["warnings"], *request["warning_codes"]])

    assert warnings() == ""
    assert "Both sides are the same" in warnings(synthetic=sets["real"])
    assert "given as real is synthetic" in warnings(real=sets["synthetic"])
    assert "no splits" in warnings(real=sets["synthetic"])
    assert "classifier needs images of at least two classes" in warnings(**{"class": "glioma"})
    uploaded = store_set(artifacts, objects, "raw", {"glioma": phantoms_u8("glioma", 6, 9, 32)})
    said = warnings(synthetic=uploaded)
    assert "is raw: its images were not generated here" in said
    assert "6 of 26 images were resized to 64 x 64 px" in said
    leaky = store_set(
        artifacts, objects, "preprocessed", {"Training/glioma": phantoms_u8("glioma", 6, 1)}, leakage={"kept": 2}
    )
    said = warnings(real=leaky, **{"class": "glioma"})
    assert "2 Testing images of the real set occur in its Training images" in said
    assert "fewer than 5 Testing images of glioma" in said
    assert {"known_leakage", "no_baseline", "usefulness_left_out"} <= set(said.split())


@pytest.mark.parametrize("trained_on", ["the set", "another set"])
def test_a_model_of_other_images_is_named(
    client: httpx.Client, artifacts: ArtifactStore, objects: ObjectStore, sets: dict[str, str], trained_on: str
) -> None:
    parent = sets["real"] if trained_on == "the set" else sets["synthetic"]
    model = artifacts.create(DraftArtifact("model", "diffusion", "m", {}, parents=[parent]), owner=OWNER)
    groups = {"glioma": phantoms_u8("glioma", 6, 4)}
    synthetic = store_set(artifacts, objects, "synthetic", groups, parents=[model.id])
    said = " ".join(start(client, {**sets, "synthetic": synthetic, "class": "glioma"})["request"]["warnings"])
    assert (f"come from {model.id}, which was trained on {parent}" in said) is (trained_on == "another set")


@pytest.mark.parametrize(("owner", "code"), [(EVERYONE, "model_was_shipped"), (OWNER, "model_of_unknown_images")])
@pytest.mark.parametrize("begun_with", [False, True])
def test_images_of_the_shipped_model_or_of_an_imported_one_are_known_as_such(
    client: httpx.Client,
    artifacts: ArtifactStore,
    objects: ObjectStore,
    sets: dict[str, str],
    owner: str,
    code: str,
    begun_with: bool,
) -> None:
    model = first = artifacts.create(DraftArtifact("model", "diffusion", "m", {}), owner=owner)
    if begun_with:
        parents = [sets["real"], first.id]
        model = artifacts.create(DraftArtifact("model", "diffusion", "m", {}, parents=parents), owner=OWNER)
    synthetic = store_set(artifacts, objects, "synthetic", {"glioma": phantoms_u8("glioma", 6, 4)}, parents=[model.id])
    request = start(client, {**sets, "synthetic": synthetic, "class": "glioma"})["request"]
    assert [warning for warning in request["warning_codes"] if warning.startswith("model_")] == [code]
    (said,) = (sentence for sentence in request["warnings"] if first.id in sentence)
    assert (f"that began with {first.id}" in said) is begun_with


def test_a_colour_image_fails_the_job_by_name(
    client: httpx.Client, jobs: JobStore, artifacts: ArtifactStore, objects: ObjectStore, sets: dict[str, str]
) -> None:
    plain = store_set(artifacts, objects, "synthetic", {"glioma": phantoms_u8("glioma", 6, 4)})
    images = [dict(image) for image in artifacts.manifest(artifacts.get(plain, OWNER))["images"]]
    out = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 20, 20)).save(out, "PNG")
    images[2]["sha256"] = objects.put_blob(out.getvalue())
    draft = DraftArtifact("image_set", "synthetic", "red", {"images": images}, {"n_images": 6})
    red = artifacts.create(draft, owner=OWNER).id
    job = work(jobs, start(client, {**sets, "synthetic": red, "checks": ["memorisation"]}))
    assert (job["status"], job["error"]["code"]) == ("failed", "colour_images")
    assert "glioma/2.png" in job["error"]["detail"]


def test_a_cancelled_audit_stops_within_a_step(
    client: httpx.Client, jobs: JobStore, artifacts: ArtifactStore, objects: ObjectStore, sets: dict[str, str]
) -> None:
    many = np.repeat(phantoms_u8("glioma", 12, 6), 60, axis=0)
    synthetic = store_set(artifacts, objects, "synthetic", {"glioma": many})
    job = start(client, {**sets, "synthetic": synthetic, "checks": ["memorisation"]})
    thread = threading.Thread(target=work, args=(jobs, job))
    thread.start()
    wait_for(lambda: jobs.get(job["id"], OWNER)["status"] == "running")
    jobs.cancel(job["id"], OWNER)
    thread.join(timeout=20)
    assert not thread.is_alive()
    assert jobs.get(job["id"], OWNER)["status"] == "cancelled"
    assert jobs.get(job["id"], OWNER)["artifacts"] == []
