"""The platform's main job over HTTP, as a researcher does it, on phantoms."""

import io
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from shared.client import ApiProblem, JobUnsuccessful, SynthMRI
from tests.e2e.embedded_platform import EmbeddedPlatform, made

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]

CLASSES = ("glioma", "meningioma", "notumor", "pituitary")


@pytest.fixture(scope="module")
def synthetic(client: SynthMRI, glioma_model: str) -> str:
    return made(client.wait(client.generate("glioma", 40, model=glioma_model, steps=10, seed=5)["id"]), "image_set")


def test_the_preprocessed_set_explains_every_image(client: SynthMRI, prepared: str) -> None:
    images = list(client.images(prepared))
    assert {image["class"] for image in images} == set(CLASSES)
    assert {(image["width"], image["height"]) for image in images} == {(256, 256)}
    assert all(image["source"] and image["sha256"] for image in images)
    # The phantoms bring one duplicate inside Training and one Testing image that is also a Training one.
    assert len(images) < 4 * (24 + 8)


def test_six_hundred_images_are_six_hundred_distinct_pngs(client: SynthMRI, glioma_model: str, tmp_path: Path) -> None:
    job = client.wait(client.generate("glioma", 600, model=glioma_model, steps=3, seed=1)["id"])
    assert job["progress"] == {"done": 600, "total": 600, "unit": "image"}
    target = tmp_path / "glioma.zip"
    client.download_archive(made(job, "image_set"), target)
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        pictures = {archive.read(name) for name in archive.namelist() if name.endswith(".png")}
    assert len(pictures) == 600
    decoded = np.asarray(Image.open(io.BytesIO(pictures.pop())))
    assert decoded.shape == (32, 32)
    assert decoded.dtype == np.uint8


def test_the_same_seed_gives_the_same_images_and_a_prefix(client: SynthMRI, glioma_model: str, synthetic: str) -> None:
    again = made(client.wait(client.generate("glioma", 23, model=glioma_model, steps=10, seed=5)["id"]), "image_set")
    first = [image["sha256"] for image in client.images(synthetic)]
    assert [image["sha256"] for image in client.images(again)] == first[:23]


def test_an_idempotency_key_makes_one_job_and_refuses_another_request(
    platform: EmbeddedPlatform, glioma_model: str
) -> None:
    headers = {"Authorization": f"Bearer {platform.api_key}", "Idempotency-Key": "main-job-1"}
    with httpx.Client(base_url=platform.base_url, headers=headers, timeout=60) as http:
        path = f"/generate?class=glioma&steps=2&model={glioma_model}"
        first, again = (http.post(f"{path}&n=2") for _ in range(2))
        other = http.post(f"{path}&n=3")
    assert first.status_code == again.status_code == 202
    assert first.headers["Location"] == f"/jobs/{first.json()['id']}"
    assert again.json()["id"] == first.json()["id"]
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_a_contact_sheet_and_a_thumbnail_are_pngs(client: SynthMRI, prepared: str, synthetic: str) -> None:
    sheet = Image.open(io.BytesIO(client.grid(prepared, n=12, px=64, **{"class": "glioma"})))
    assert min(sheet.size) >= 64
    name = next(client.images(synthetic))["name"]
    assert max(Image.open(io.BytesIO(client.image(synthetic, name, px=24))).size) == 24


def test_an_evaluation_names_its_features_and_counts(
    client: SynthMRI, prepared: str, synthetic: str, classifier: str
) -> None:
    job = client.wait(client.evaluate(synthetic, prepared, features="classifier", model=classifier)["id"])
    report_id = made(job, "report")
    text = str(client.report(report_id)["report"])
    assert "classifier" in text
    assert "40" in text
    assert client.report_as(report_id, "png").startswith(b"\x89PNG")
    assert b"<html" in client.report_as(report_id, "html").lower()
    assert b"," in client.report_as(report_id, "csv")


def test_inception_scores_ask_for_the_weights_and_never_replace_them(
    client: SynthMRI, prepared: str, synthetic: str
) -> None:
    with pytest.raises(ApiProblem) as problem:
        client.evaluate(synthetic, prepared)
    assert problem.value.code == "weights_not_installed"
    assert "synthmri weights install inception" in problem.value.detail


def test_classify_answers_probabilities_and_a_heat_map(client: SynthMRI, phantoms: Path, classifier: str) -> None:
    mri = next((phantoms / "Testing" / "glioma").iterdir())
    answer = client.classify(mri, model=classifier, explain=True)
    assert set(answer["probabilities"]) == set(CLASSES)
    assert sum(answer["probabilities"].values()) == pytest.approx(1.0, abs=1e-3)
    assert answer["model"] == classifier
    assert answer["heat_map"].startswith("data:image/png;base64,")


def test_a_scenario_compares_compositions(client: SynthMRI, prepared: str, synthetic: str) -> None:
    real = {tumour_class: {"real": 12} for tumour_class in CLASSES}
    mixed = {**real, "glioma": {"real": 12, "synthetic": 20}}
    job = client.run_scenario(
        prepared, [synthetic], compositions={"real only": real, "mixed": mixed}, seeds=[1, 2], epochs=1, size=32
    )
    finished = client.wait(job["id"])
    report_id = made(finished, "report")
    assert {"real only", "mixed"} <= set(str(client.report(report_id)["report"]).replace('"', "'").split("'"))
    assert client.report_as(report_id, "png").startswith(b"\x89PNG")


def test_a_job_can_be_watched_cancelled_and_retried(client: SynthMRI, prepared: str) -> None:
    job = client.train_diffusion(prepared, "glioma", preset="tiny-32", epochs=2000)
    for event, state in client.events(job["id"]):
        if event == "progress" and state["progress"]["done"] > 0:
            break
    assert client.cancel(job["id"])["status"] == "cancelled"
    with pytest.raises(JobUnsuccessful):
        client.wait(job["id"])
    with pytest.raises(ApiProblem) as problem:
        client.cancel(job["id"])
    assert (problem.value.status, problem.value.code) == (409, "job_already_finished")
    again = client.retry(job["id"])
    assert again["retry_of"] == job["id"]
    client.cancel(again["id"])
