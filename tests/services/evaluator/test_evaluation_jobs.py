"""The whole service over HTTP, with a real database, broker and object store; shards run in this process."""

import dataclasses
import io
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from numpy.typing import NDArray
from PIL import Image

from services.evaluator import evaluation_jobs
from services.evaluator.weights.published import KNOWN
from shared.artifacts.store import Artifact, ArtifactStore, DraftArtifact
from shared.jobs.runner import run_shard
from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from tests.services.evaluator.seeded_weights import inception_pth
from tests.support.servers import free_port, port_answers, wait_until

pytestmark = [
    pytest.mark.services,
    # Keras remarks that the classifier's feature network was built on a list of one input and called with the input.
    pytest.mark.filterwarnings("ignore:The structure of `inputs`"),
]
OWNER = "team-a"
SIDES = {"synthetic": 5, "real": 6, "other_real": 4}
"""Gliomas of the fixture `sets`."""


@pytest.fixture
def client(artifacts: ArtifactStore) -> Iterator[httpx.Client]:
    """A client of the api, served on loopback as the platform serves it."""
    from services.evaluator.api import app  # reads the settings when it is imported

    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: port_answers(port))
    headers = {"X-Internal-Token": "tests-internal-token", "X-SynthMRI-Owner": OWNER}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=120.0) as client:
        yield client
    server.should_exit = True
    thread.join()


def blobs(n: int, seed: int, side: int = 32) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(0, 256, size=(n, 4, 4), dtype=np.uint8)
    return np.kron(coarse, np.ones((1, side // 4, side // 4), dtype=np.uint8))


def store_set(
    artifacts: ArtifactStore,
    objects: ObjectStore,
    kind: str,
    groups: dict[str, NDArray[np.uint8]],
    parents: list[str] | None = None,
) -> str:
    """An image set from "<split>/<class>" or "<class>" to images (n, h, w) uint8."""
    images: list[dict[str, Any]] = []
    for path, pixels in groups.items():
        split, _, tumour_class = path.rpartition("/")
        for i, image in enumerate(pixels):
            out = io.BytesIO()
            Image.fromarray(image).save(out, "PNG")
            entry = {"name": f"{path}/{i}.png", "class": tumour_class, "split": split or None, "plane": None}
            sizes = {"width": image.shape[1], "height": image.shape[0], "source": None, "parameters": {}}
            images.append({**entry, **sizes, "sha256": objects.put_blob(out.getvalue())})
    draft = DraftArtifact("image_set", kind, kind, {"images": images}, parents=parents or [])
    return artifacts.create(draft, owner=OWNER).id


@pytest.fixture
def sets(artifacts: ArtifactStore, objects: ObjectStore) -> dict[str, str]:
    real = {
        "Training/glioma": blobs(6, 1),
        "Testing/glioma": blobs(4, 2),
        "Training/notumor": blobs(3, 3),
    }
    return {
        "synthetic": store_set(artifacts, objects, "synthetic", {"glioma": blobs(5, 4, side=16)}),
        "real": store_set(artifacts, objects, "preprocessed", real),
    }


def store_classifier(
    artifacts: ArtifactStore, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch, parents: list[str]
) -> Artifact:
    """An untrained classifier whose manifest says that it was trained on `parents`."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    from services.classifier.network import NetworkConfig, build_network, weights_to_bytes

    config = {"architecture": "vgg19-compact", "size_px": 32, "input_space": "pm1"}
    sha256 = objects.put_blob(weights_to_bytes(build_network(NetworkConfig(**config))))
    body = {"objects": {"weights.safetensors": sha256}, "config": {**config, "preset": "vgg19-compact"}, "card": {}}
    return artifacts.create(DraftArtifact("model", "classifier", "c", body, parents=parents), owner=OWNER)


@pytest.fixture
def classifier(artifacts: ArtifactStore, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    return store_classifier(artifacts, objects, monkeypatch, [])


def evaluate(client: httpx.Client, jobs: JobStore, request: dict[str, Any]) -> dict[str, Any]:
    """Submit, run, and give the finished job."""
    answer = client.post("/evaluate", json=request)
    assert answer.status_code == 202, answer.text
    job_id = answer.json()["id"]
    assert answer.headers["Location"] == f"/jobs/{job_id}"
    for number in jobs.queued_shards(job_id):
        run_shard(job_id, number, finish=evaluation_jobs.finish_evaluation)
    job = jobs.get(job_id, OWNER)
    assert job["status"] == "succeeded", job
    return job


def stored_report(artifacts: ArtifactStore, job: dict[str, Any]) -> tuple[Artifact, dict[str, Any]]:
    artifact = artifacts.get(job["artifacts"][0]["id"], OWNER, "report")
    return artifact, artifacts.manifest(artifact)


def test_classifier_features_work_without_library_weights(
    client: httpx.Client,
    jobs: JobStore,
    artifacts: ArtifactStore,
    objects: ObjectStore,
    sets: dict[str, str],
    classifier: Artifact,
) -> None:
    job = evaluate(client, jobs, {**sets, "features": "classifier"})
    assert job["progress"] == {"done": 15, "total": 15, "unit": "image"}
    artifact, manifest = stored_report(artifacts, job)
    report = manifest["report"]
    assert (artifact.kind, artifact.tumour_class) == ("evaluation", "glioma")
    assert manifest["parents"] == [sets["synthetic"], sets["real"], classifier.id]
    assert (report["n_synthetic"], report["n_real"], report["n_other_real"]) == (5, 6, 4)
    assert report["features"]["model"] == classifier.id
    assert report["size_px"] == [32, 32]
    assert [entry["metric"] for entry in report["metrics"]] == ["fid", "kid", "is"]
    assert report["metrics"][0]["real"]["what"] == "one half of the real images against the other"
    assert any("5 of 15 images were resized" in warning for warning in report["warnings"])
    files = {name: objects.get_blob(sha256) for name, sha256 in manifest["objects"].items()}
    assert files.keys() == {"chart.png", "embedding.png", "table.csv", "report.html"}
    assert files["chart.png"].startswith(b"\x89PNG")


@pytest.mark.parametrize("trained_on", ["the set", "its upload", "a twin of it", "another set"])
def test_a_classifier_that_has_seen_the_real_images_is_named_and_the_floor_made_without_it(
    client: httpx.Client,
    jobs: JobStore,
    artifacts: ArtifactStore,
    objects: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    trained_on: str,
) -> None:
    def store(kind: str, groups: dict[str, NDArray[np.uint8]], parents: list[str]) -> str:
        return store_set(artifacts, objects, kind, groups, parents)

    raw = store("raw", {"Training/glioma": blobs(2, 9)}, [])
    real = store("preprocessed", {"Training/glioma": blobs(20, 1), "Testing/glioma": blobs(21, 2)}, [raw])
    sets = {"synthetic": store("synthetic", {"glioma": blobs(5, 4)}, []), "real": real}
    twin = store("preprocessed", {"Training/glioma": blobs(3, 5)}, [raw])
    parent = {"the set": real, "its upload": raw, "a twin of it": twin, "another set": sets["synthetic"]}[trained_on]
    model = store_classifier(artifacts, objects, monkeypatch, [parent])
    request = {**sets, "features": "classifier", "model": model.id, "metrics": ["fid"]}
    _, manifest = stored_report(artifacts, evaluate(client, jobs, request))
    report, page = manifest["report"], objects.get_blob(manifest["objects"]["report.html"]).decode()
    seen = trained_on != "another set"
    what = "one half of the real Testing images against the other" if seen else "real Testing against real Training"
    sizes = [10, 11] if seen else [20, 21]
    assert report["metrics"][0]["real"]["what"] == report["floor"]["what"] == what
    assert sorted(report["metrics"][0]["real"]["n"]) == sorted(report["floor"]["n"]) == sizes
    assert what in page
    assert any(f"The classifier {model.id} was trained on" in warning for warning in report["warnings"]) is seen
    assert (f"The classifier {model.id} was trained on" in page) is seen


def test_the_same_request_gives_the_same_scores(
    client: httpx.Client, jobs: JobStore, artifacts: ArtifactStore, sets: dict[str, str], classifier: Artifact
) -> None:
    request = {**sets, "features": "classifier", "metrics": ["kid"], "class": "glioma", "seed": 5}
    reports = [stored_report(artifacts, evaluate(client, jobs, request))[1]["report"] for _ in range(2)]
    counters = [report.pop("cache") for report in reports]
    assert json.dumps(reports[0]) == json.dumps(reports[1])
    assert counters[0] == {side: {"computed": n, "from_cache": 0} for side, n in SIDES.items()}
    assert counters[1] == {side: {"computed": 0, "from_cache": n} for side, n in SIDES.items()}


@pytest.mark.slow
@pytest.mark.usefixtures("allow_unverified")
def test_inception_after_installing_its_weights(
    client: httpx.Client, jobs: JobStore, artifacts: ArtifactStore, sets: dict[str, str]
) -> None:
    refused = client.post("/evaluate", json=sets)
    assert (refused.status_code, refused.json()["code"]) == (409, "weights_not_installed")
    assert "synthmri weights install inception" in refused.json()["detail"]
    assert "features=classifier" in refused.json()["detail"]
    installed = client.post("/weights/inception", files={"file": ("seeded.pth", inception_pth())})
    assert installed.status_code == 201, installed.text
    assert installed.json()["verified"] is False
    _, manifest = stored_report(artifacts, evaluate(client, jobs, {**sets, "split": "all"}))
    report = manifest["report"]
    assert report["features"]["sha256"] == installed.json()["sha256"]
    assert report["features"]["n_features"] == 2048
    assert any("UNVERIFIED" in warning for warning in report["warnings"])
    assert any("rank-deficient" in warning for warning in report["warnings"])
    assert report["metrics"][1]["real"]["what"] == "one half of the real images against the other"


def test_weights_are_listed_and_bad_ones_refused(client: httpx.Client) -> None:
    items = client.get("/weights").json()["items"]
    assert [(item["name"], item["installed"]) for item in items] == [
        ("inception", False),
        ("vgg19", False),
        ("keras-inception", False),
    ]
    wrong = client.post("/weights/vgg19", files={"file": ("x.h5", b"short")})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "weights_truncated")
    unknown = client.post("/weights/resnet", files={"file": ("x", b"x")})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_weights")
    assert not any(item["installed"] for item in client.get("/weights").json()["items"])


@pytest.mark.parametrize("name", ["inception", "vgg19", "keras-inception"])
def test_weights_that_cannot_be_installed_are_named_and_nothing_is_stored(
    client: httpx.Client, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    # The same entry with a small size and a source that nobody serves: the api runs in this process.
    source = f"http://127.0.0.1:{free_port()}/weights"
    monkeypatch.setitem(KNOWN, name, dataclasses.replace(KNOWN[name], size_bytes=100, url=source))
    cut = client.post(f"/weights/{name}", files={"file": ("x", b"\x00" * 99)})
    assert (cut.status_code, cut.json()["code"]) == (422, "weights_truncated")
    other = client.post(f"/weights/{name}", files={"file": ("x", b"\x00" * 100)})
    assert (other.status_code, other.json()["code"]) == (422, "weights_hash_wrong")
    assert KNOWN[name].digest in other.json()["detail"]
    alone = client.post(f"/weights/{name}")
    assert (alone.status_code, alone.json()["code"]) == (503, "weights_source_unreachable")
    assert f"synthmri weights install {name} --file" in alone.json()["detail"]
    assert list(objects.list("weights/")) == []


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"synthetic": "set-none"}, 404, "image_set_not_found"),
        ({"class": "glioblastoma"}, 422, "invalid_request"),
        ({"class": "pituitary"}, 422, "no_such_images"),
        ({"metrics": []}, 422, "invalid_request"),
        ({"metrics": ["fid", "fid"]}, 422, "invalid_request"),
        ({"metrics": ["ssim"]}, 422, "invalid_request"),
        ({"features": "raw-pixels"}, 422, "invalid_request"),
        ({"features": "radiomics", "mode": "study"}, 422, "invalid_request"),
        ({"features": "radiomics", "model": "mdl-1"}, 422, "invalid_request"),
        ({"features": "radiomics", "metrics": ["fid", "is"]}, 422, "no_class_probabilities"),
        ({"model": "mdl-1"}, 422, "invalid_request"),
        ({"features": "classifier"}, 404, "model_not_found"),
        ({"features": "classifier", "model": "mdl-none"}, 404, "model_not_found"),
        ({"seed": -1}, 422, "invalid_request"),
        ({"name": "a\x00b"}, 422, "invalid_request"),
        ({"real": "set\x00"}, 422, "invalid_request"),
        ({"synthetic": "../set"}, 422, "invalid_request"),
        ({"features": "classifier", "model": "mdl\n"}, 422, "invalid_request"),
        ({"unknown": 1}, 422, "invalid_request"),
        ({}, 409, "weights_not_installed"),
    ],
)
def test_bad_requests_are_named_and_leave_no_job(
    client: httpx.Client, jobs: JobStore, sets: dict[str, str], change: dict[str, Any], status: int, code: str
) -> None:
    answer = client.post("/evaluate", json={**sets, **change})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert jobs.list(OWNER)[0] == []


def test_other_refusals(
    client: httpx.Client, artifacts: ArtifactStore, objects: ObjectStore, sets: dict[str, str]
) -> None:
    diffusion = artifacts.create(DraftArtifact("model", "diffusion", "d", {"objects": {}}), owner=OWNER)
    answer = client.post("/evaluate", json={**sets, "features": "classifier", "model": diffusion.id})
    assert (answer.status_code, answer.json()["code"]) == (422, "not_a_classifier")
    single = store_set(artifacts, objects, "synthetic", {"glioma": blobs(1, 9)})
    answer = client.post("/evaluate", json={**sets, "synthetic": single})
    assert (answer.status_code, answer.json()["code"]) == (422, "too_few_images")
    assert client.post("/evaluate", json=sets, headers={"X-SynthMRI-Owner": "team-b"}).status_code == 404
    assert client.post("/evaluate", json=sets, headers={"X-Internal-Token": "wrong"}).status_code == 403
