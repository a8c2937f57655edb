"""The radiomics feature space over HTTP and on images: refusals, the report, and what moves the distance."""

import sys
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from services.evaluator import evaluation_jobs
from services.evaluator.features.extraction import ImageFeatures
from services.evaluator.features.radiomics import COMMAND, FEATURE_NAMES, RadiomicsExtractor
from services.evaluator.metrics.frechet import frechet_distance
from services.evaluator.metrics.scopes import Sides
from services.evaluator.metrics.standardisation import standardise_sides
from shared.artifacts.store import ArtifactStore
from shared.jobs.runner import run_shard
from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from tests.services.evaluator.image_sets import OWNER, phantoms_u8, served_api, store_set

Json = dict[str, Any]
GrayImages = NDArray[np.uint8]


@pytest.fixture
def client(artifacts: ArtifactStore) -> Iterator[httpx.Client]:
    with served_api() as client:
        yield client


@pytest.fixture
def library() -> None:
    pytest.importorskip("flash_radiomics", reason=COMMAND)


def cornered(tumour_class: str, n: int, seed: int) -> GrayImages:
    """Phantoms with one black pixel in a corner: their minimum is constant."""
    images_u8 = phantoms_u8(tumour_class, n, seed, 32).copy()
    images_u8[:, 0, 0] = 0
    return images_u8


@pytest.fixture
def sets(artifacts: ArtifactStore, objects: ObjectStore) -> Json:
    real = {
        "Training/glioma": cornered("glioma", 12, 1),
        "Testing/glioma": cornered("glioma", 6, 2),
        "Training/notumor": cornered("notumor", 8, 3),
    }
    synthetic = {"glioma": cornered("glioma", 7, 4), "notumor": cornered("notumor", 6, 5)}
    return {
        "synthetic": store_set(artifacts, objects, "synthetic", synthetic),
        "real": store_set(artifacts, objects, "preprocessed", real),
        "features": "radiomics",
    }


def run_job(client: httpx.Client, jobs: JobStore, artifacts: ArtifactStore, request: Json) -> Json:
    answer = client.post("/evaluate", json=request)
    assert answer.status_code == 202, answer.text
    for number in jobs.queued_shards(answer.json()["id"]):
        run_shard(answer.json()["id"], number, finish=evaluation_jobs.finish_evaluation)
    job = jobs.get(answer.json()["id"], OWNER)
    assert job["status"] == "succeeded", job
    manifest = artifacts.manifest(artifacts.get(job["artifacts"][0]["id"], OWNER, "report"))
    return {**manifest["report"], "objects": manifest["objects"]}


@pytest.mark.services
def test_without_the_library_the_request_is_refused_at_once(
    client: httpx.Client, jobs: JobStore, sets: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "flash_radiomics", None)  # the api runs in this process
    answer = client.post("/evaluate", json=sets)
    assert (answer.status_code, answer.json()["code"]) == (409, "radiomics_not_installed")
    assert answer.json()["command"] == COMMAND
    assert COMMAND in answer.json()["detail"]
    assert jobs.list(OWNER)[0] == []


@pytest.mark.services
@pytest.mark.usefixtures("library")
def test_the_report_names_the_library_and_the_second_one_computes_nothing(
    client: httpx.Client, jobs: JobStore, artifacts: ArtifactStore, objects: ObjectStore, sets: Json
) -> None:
    first, second = (run_job(client, jobs, artifacts, sets) for _ in range(2))
    assert first["features"] == {
        "name": "radiomics", "sha256": RadiomicsExtractor().sha256, "model": None, "verified": True,
        "library": "flash-radiomics 1.0.0", "n_features": len(FEATURE_NAMES),
    }  # fmt: skip
    assert [table["class"] for table in first["by_class"]] == ["glioma", "notumor"]
    metrics = [entry["metric"] for entry in first["metrics"]]
    assert metrics == ["fid", "kid", "precision", "recall", "density", "coverage"]
    assert first["metrics"][0]["label"] == "Fréchet radiomics distance (FRD)"
    assert first["metrics"][0]["real"]["what"] == "one half of the real images against the other"
    assert {"features_of_radiomics", "fewer_images_than_features"} <= set(first["warning_codes"])
    page = objects.get_blob(first["objects"]["report.html"]).decode()
    assert "library and settings (flash-radiomics 1.0.0)" in page
    assert first["cache"]["real"] == {"computed": 20, "from_cache": 0}
    assert {side["computed"] for side in second["cache"].values()} == {0}
    assert (first["metrics"], first["by_class"]) == (second["metrics"], second["by_class"])


@pytest.mark.services
@pytest.mark.usefixtures("library")
def test_a_class_has_the_scores_that_it_would_have_alone(
    client: httpx.Client, jobs: JobStore, artifacts: ArtifactStore, sets: Json
) -> None:
    together = run_job(client, jobs, artifacts, {**sets, "metrics": ["fid"]})
    alone = run_job(client, jobs, artifacts, {**sets, "metrics": ["fid"], "class": "glioma"})
    assert together["by_class"][0]["metrics"] == alone["metrics"]
    assert alone["features_left_out"] == ["firstorder_Minimum"]
    assert "constant_features" in alone["warning_codes"]
    assert any("firstorder_Minimum" in warning for warning in alone["warnings"])


def measure(images_u8: GrayImages) -> ImageFeatures:
    return RadiomicsExtractor().extract_batch(images_u8)


def distance(synthetic: ImageFeatures, real: ImageFeatures) -> float:
    scaled, _ = standardise_sides(Sides(synthetic, real, None), FEATURE_NAMES)
    return frechet_distance(scaled.synthetic.features, scaled.real.features)


@pytest.fixture(scope="module")
def real_u8() -> GrayImages:
    pytest.importorskip("flash_radiomics", reason=COMMAND)
    return phantoms_u8("glioma", 60, 1)


def test_a_set_lies_at_zero_from_itself_in_any_order(real_u8: GrayImages) -> None:
    real = measure(real_u8)
    size = 2 * 77  # traces of both covariances of standardised features
    assert distance(real, real) < 1e-6 * size
    assert distance(measure(real_u8[::-1]), real) < 1e-6 * size


def test_brightness_blur_and_noise_raise_the_distance_the_more_the_stronger(real_u8: GrayImages) -> None:
    real, fresh = measure(real_u8), phantoms_u8("glioma", 60, 2)
    floor = distance(measure(fresh), real)
    levels, noise = fresh.astype(np.float64), np.random.default_rng(0).normal(size=fresh.shape)
    changes = {
        "brightness": [levels + 10 * (levels > 0), levels + 30 * (levels > 0)],
        "blur": [ndimage.gaussian_filter(levels, (0, sigma, sigma)) for sigma in (0.5, 1.0)],
        "noise": [levels + 4 * noise, levels + 12 * noise],
    }
    for name, (weak, strong) in changes.items():
        weaker, stronger = (distance(measure(np.clip(x, 0, 255).astype(np.uint8)), real) for x in (weak, strong))
        assert stronger > weaker > floor, (name, floor, weaker, stronger)


def test_another_unit_of_one_feature_changes_nothing(real_u8: GrayImages) -> None:
    real, other = measure(real_u8), measure(phantoms_u8("glioma", 50, 2))
    expected = distance(other, real)
    for name in ("firstorder_Energy", "glcm_Idmn", "ngtdm_Coarseness"):
        unit = np.ones(len(FEATURE_NAMES), dtype=np.float32)
        unit[FEATURE_NAMES.index(name)] = 1000
        scaled = [ImageFeatures(x.features * unit, x.probabilities) for x in (other, real)]
        assert distance(*scaled) == pytest.approx(expected, rel=1e-3)
