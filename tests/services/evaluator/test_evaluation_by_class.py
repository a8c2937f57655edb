"""Evaluations of several classes, in study mode, and of images that cannot be compared."""

import csv
import io
import json
import math
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from services.evaluator import evaluation_jobs
from services.evaluator.weights.published import known_weights
from shared.artifacts.store import ArtifactStore
from shared.jobs.runner import run_shard
from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from tests.services.evaluator.image_sets import OWNER, encode, phantoms_u8, served_api, store_set
from tests.services.evaluator.seeded_weights import inception_pth, keras_inception_h5
from tests.services.evaluator.test_evaluation_jobs import store_classifier

pytestmark = [
    pytest.mark.services,
    # Keras remarks that the classifier's feature network was built on a list of one input and called with the input.
    pytest.mark.filterwarnings("ignore:The structure of `inputs`"),
]
Json = dict[str, Any]


@pytest.fixture
def client(artifacts: ArtifactStore) -> Iterator[httpx.Client]:
    with served_api() as client:
        yield client


def images(n: int, seed: int, side: int = 32) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(0, 256, size=(n, 4, 4), dtype=np.uint8)
    return np.kron(coarse, np.ones((1, side // 4, side // 4), dtype=np.uint8))


@pytest.fixture
def sets(artifacts: ArtifactStore, objects: ObjectStore) -> Json:
    real = {
        "Training/glioma": images(24, 1),
        "Testing/glioma": images(20, 2),
        "Training/notumor": images(22, 3),
        "Testing/notumor": images(7, 4),
        "Training/pituitary": images(9, 5),
    }
    synthetic = {"glioma": images(21, 6), "notumor": images(7, 7), "pituitary": images(1, 8)}
    return {
        "synthetic": store_set(artifacts, objects, "synthetic", synthetic),
        "real": store_set(artifacts, objects, "preprocessed", real),
    }


@pytest.fixture
def classifier(artifacts: ArtifactStore, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Json:
    return {"features": "classifier", "model": store_classifier(artifacts, objects, monkeypatch, []).id}


def run_job(client: httpx.Client, jobs: JobStore, request: Json) -> Json:
    answer = client.post("/evaluate", json=request)
    assert answer.status_code == 202, answer.text
    for number in jobs.queued_shards(answer.json()["id"]):
        run_shard(answer.json()["id"], number, finish=evaluation_jobs.finish_evaluation)
    return jobs.get(answer.json()["id"], OWNER)


def report_of(artifacts: ArtifactStore, job: Json) -> Json:
    assert job["status"] == "succeeded", job
    manifest = artifacts.manifest(artifacts.get(job["artifacts"][0]["id"], OWNER, "report"))
    return {**manifest["report"], "objects": manifest["objects"]}


def test_each_class_has_scores_of_its_own(
    client: httpx.Client,
    jobs: JobStore,
    artifacts: ArtifactStore,
    objects: ObjectStore,
    sets: Json,
    classifier: Json,
) -> None:
    report = report_of(artifacts, run_job(client, jobs, {**sets, **classifier}))
    assert (report["class"], report["n_synthetic"], report["n_real"]) == (None, 29, 55)
    assert len(report["metrics"]) == 8
    assert [entry["class"] for entry in report["by_class"]] == ["glioma", "notumor"]
    glioma, notumor = report["by_class"]
    assert (glioma["n_synthetic"], glioma["n_real"], glioma["n_other_real"]) == (21, 24, 20)
    # Of all classes together, the splits differ in their mix; of notumor there are too few Testing images.
    assert glioma["floor"] == {"what": "real Testing against real Training", "n": [20, 24]}
    assert report["floor"] == {"what": "one half of the real images against the other", "n": [27, 28]}
    assert notumor["floor"] == {"what": "one half of the real images against the other", "n": [11, 11]}
    # Seven images are enough for their fifth neighbour, not for an extrapolation.
    assert [entry["metric"] for entry in notumor["metrics"]] == [
        "fid", "kid", "is", "precision", "recall", "density", "coverage",
    ]  # fmt: skip
    expected = {"class_left_out", "class_mix_differs", "numbers_differ", "fewer_images_than_features"}
    expected |= {"floor_of_fewer_images", "floor_leakage_unchecked"}
    assert expected <= set(report["warning_codes"])
    assert "known_leakage_in_floor" not in report["warning_codes"]
    assert len(report["warning_codes"]) == len(report["warnings"])
    # A class by itself gives what its row of the whole report says.
    alone = report_of(artifacts, run_job(client, jobs, {**sets, **classifier, "class": "glioma"}))
    assert alone["by_class"] == []
    assert alone["metrics"] == glioma["metrics"]
    assert alone["cache"]["synthetic"] == {"computed": 0, "from_cache": 21}
    rows = list(csv.DictReader(io.StringIO(objects.get_blob(report["objects"]["table.csv"]).decode())))
    assert {row["class"] for row in rows} == {"all", "glioma", "notumor"}
    assert len(rows) == 8 + 8 + 7
    page = objects.get_blob(report["objects"]["report.html"]).decode()
    assert all(f"<h2>Scores: {name}</h2>" in page for name in ("all classes together", "glioma", "notumor"))


def test_what_limits_the_floor_and_the_scores_of_single_classes_is_said(
    client: httpx.Client, jobs: JobStore, artifacts: ArtifactStore, objects: ObjectStore, classifier: Json
) -> None:
    pair = ("glioma", "notumor")
    real = {f"{split}/{name}": images(n, n) for name in pair for split, n in (("Training", 70), ("Testing", 20))}
    request = {
        "synthetic": store_set(artifacts, objects, "synthetic", {name: images(70, 1) for name in pair}),
        "real": store_set(artifacts, objects, "preprocessed", real, leakage={"checked": True, "kept": 7}),
        "metrics": ["kid"],
        **classifier,
    }
    report = report_of(artifacts, run_job(client, jobs, request))
    said = dict(zip(report["warning_codes"], report["warnings"], strict=True))
    # 140 images of both classes are more than the 128 features of the classifier, the 70 of either are not.
    assert report["features"]["n_features"] == 128
    assert "(70 of glioma, 70 of notumor)" in said["fewer_images_than_features"]
    for floor in (
        "40 against 140 images beside 140 synthetic against 140 real ones (all images)",
        "(glioma)",
        "(notumor)",
    ):
        assert floor in said["floor_of_fewer_images"]
    assert said["known_leakage_in_floor"].startswith("7 Testing images of the real set occur in its Training images")
    halved = report_of(artifacts, run_job(client, jobs, {**request, "split": "all"}))
    assert halved["floor"]["what"] == "one half of the real images against the other"
    assert "known_leakage_in_floor" not in halved["warning_codes"]


def test_study_mode_adds_its_figures_and_says_what_is_missing(
    client: httpx.Client,
    jobs: JobStore,
    artifacts: ArtifactStore,
    objects: ObjectStore,
    sets: Json,
    classifier: Json,
) -> None:
    request = {**sets, **classifier, "metrics": ["is"]}
    rigorous, study = (
        report_of(artifacts, run_job(client, jobs, {**request, "mode": m})) for m in ("rigorous", "study")
    )
    assert (rigorous["mode"], study["mode"]) == ("rigorous", "study")
    assert "study" not in rigorous
    assert study["metrics"] == rigorous["metrics"]
    glioma = study["by_class"][0]
    score, distance = glioma["study"]["entries"]
    assert glioma["study"]["mark"] == "not comparable"
    assert score["true_value"] == glioma["metrics"][0]["value"]
    assert score["value"] == pytest.approx(score["true_value"] ** (1 / math.log(2)))
    assert score["real"]["true_value"] == glioma["metrics"][0]["real"]["value"]
    assert classifier["model"] in score["network"]
    assert distance["available"] is False
    assert known_weights("keras-inception").command in distance["why"]
    values = [entry["study"]["entries"][0]["value"] for entry in study["by_class"]]
    assert study["study"]["entries"][0]["value"] == pytest.approx(np.mean(values))
    page = objects.get_blob(study["objects"]["report.html"]).decode()
    assert "not comparable" in page
    assert "synthmri weights install keras-inception" in page
    refused = client.post("/evaluate", json={**request, "mode": "study", "split": "all"})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")


@pytest.mark.slow
@pytest.mark.usefixtures("allow_unverified")
def test_real_features_are_computed_once_ever(
    client: httpx.Client, jobs: JobStore, artifacts: ArtifactStore, objects: ObjectStore
) -> None:
    installed = client.post("/weights/inception", files={"file": ("seeded.pth", inception_pth())})
    assert installed.status_code == 201, installed.text
    real = store_set(
        artifacts, objects, "preprocessed", {"Training/glioma": images(6, 1), "Testing/glioma": images(4, 2)}
    )
    reports = []
    for seed in (3, 4):
        synthetic = store_set(artifacts, objects, "synthetic", {"glioma": images(3, seed)})
        request = {"synthetic": synthetic, "real": real, "metrics": ["fid"]}
        reports.append(report_of(artifacts, run_job(client, jobs, request)))
    assert [report["cache"]["real"] for report in reports] == [
        {"computed": 6, "from_cache": 0},
        {"computed": 0, "from_cache": 6},
    ]
    assert reports[1]["cache"]["other_real"] == {"computed": 0, "from_cache": 4}
    assert reports[1]["cache"]["synthetic"] == {"computed": 3, "from_cache": 0}
    assert reports[0]["metrics"][0]["real"]["value"] == reports[1]["metrics"][0]["real"]["value"]
    page = objects.get_blob(reports[1]["objects"]["report.html"]).decode()
    assert "Features of 3 images were computed for this report, those of 10 were there already." in page


@pytest.mark.slow
@pytest.mark.usefixtures("allow_unverified")
def test_the_studys_distance_after_installing_its_network(
    client: httpx.Client, jobs: JobStore, artifacts: ArtifactStore, objects: ObjectStore, classifier: Json
) -> None:
    installed = client.post("/weights/keras-inception", files={"file": ("seeded.h5", keras_inception_h5())})
    assert installed.status_code == 201, installed.text
    real = {"Training/glioma": phantoms_u8("glioma", 4, 1), "Testing/glioma": phantoms_u8("glioma", 3, 2)}
    request = {
        "synthetic": store_set(artifacts, objects, "synthetic", {"glioma": phantoms_u8("glioma", 3, 3)}),
        "real": store_set(artifacts, objects, "preprocessed", real),
        "mode": "study",
        "metrics": ["fid"],
        **classifier,
    }
    job = run_job(client, jobs, request)
    report = report_of(artifacts, job)
    assert job["progress"]["done"] == 20
    entries = report["study"]["entries"]
    assert [entry["metric"] for entry in entries] == ["study_is", "study_is", "study_fid"]
    assert "Keras" in entries[1]["network"]
    assert entries[2]["available"]
    assert entries[2]["interval"]["low"] < entries[2]["value"] < entries[2]["interval"]["high"]
    assert entries[2]["real"]["n"] == [2, 2]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"resize": "refuse"}, "sizes_differ"),
        ({"metrics": ["fid_infinity"], "class": "glioma"}, "too_few_images"),
        ({"metrics": ["precision"], "class": "glioma"}, "too_few_images"),
        ({"class": "pituitary"}, "no_such_images"),
        ({"resize": "crop"}, "invalid_request"),
        ({"mode": "quick"}, "invalid_request"),
    ],
)
def test_what_can_be_known_is_refused_at_once(
    client: httpx.Client,
    jobs: JobStore,
    artifacts: ArtifactStore,
    objects: ObjectStore,
    classifier: Json,
    change: Json,
    code: str,
) -> None:
    sets = {
        "synthetic": store_set(artifacts, objects, "synthetic", {"glioma": images(5, 1, side=16)}),
        "real": store_set(artifacts, objects, "preprocessed", {"glioma": images(30, 2)}),
    }
    answer = client.post("/evaluate", json={**sets, **classifier, **change})
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert jobs.list(OWNER)[0] == []


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("constant", "constant_images"),
        ("colour", "colour_images"),
        ("deep", "more_than_eight_bits"),
        ("junk", "image_unreadable"),
    ],
)
def test_images_that_cannot_be_compared_end_the_job_by_name(
    client: httpx.Client,
    jobs: JobStore,
    artifacts: ArtifactStore,
    objects: ObjectStore,
    classifier: Json,
    kind: str,
    code: str,
) -> None:
    pixels: dict[str, Any] = {
        "constant": np.full((4, 32, 32), 77, np.uint8),
        "colour": np.tile(np.array([200, 90, 90], np.uint8), (4, 32, 32, 1)),
        "deep": np.full((4, 32, 32), 3000, np.uint16),
        "junk": images(4, 1),
    }
    synthetic = store_set(artifacts, objects, "synthetic", {"glioma": pixels[kind]})
    if kind == "junk":
        data = encode(images(1, 77)[0])[:50]
        manifest = artifacts.manifest(artifacts.get(synthetic, OWNER, "image_set"))
        manifest["images"][0]["sha256"] = objects.put_blob(data)
        objects.put(f"artifacts/{synthetic}/manifest.json", json.dumps(manifest).encode())
    real = store_set(artifacts, objects, "preprocessed", {"glioma": images(6, 2)})
    job = run_job(client, jobs, {"synthetic": synthetic, "real": real, **classifier, "metrics": ["kid"]})
    assert (job["status"], job["error"]["code"]) == ("failed", code), job
