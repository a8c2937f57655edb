"""An audit of an uploaded set with planted copies over HTTP; the copies left out; a killed worker changes nothing."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

from deploy.embedded.phantoms import write_phantoms
from shared.client import SynthMRI
from tests.e2e.embedded_platform import EmbeddedPlatform, made, under_way
from tests.e2e.test_ten_kills import kill_worker

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

CHECKS = ["memorisation", "shortcuts", "diversity"]
COPIES = {"glioma/planted-0.png", "glioma/planted-1.png"}


@pytest.fixture(scope="module")
def suspect(client: SynthMRI, prepared: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of an uploaded set: other phantoms, prepared alike, and two Training gliomas, one of them mirrored."""
    folder = tmp_path_factory.mktemp("suspect")
    write_phantoms(folder, n_training=8, n_testing=1, seed=2)
    job = client.wait(client.preprocess(client.upload(folder, name="other phantoms")["id"])["id"])
    files: dict[str, Path] = {}

    def keep(name: str, image: Image.Image) -> None:
        files[name] = folder / name.replace("/", "-")
        image.save(files[name])

    fresh = made(job, "image_set")
    for image in client.images(fresh, split="Training"):
        data = client.image(fresh, image["name"])
        keep(f"{image['class']}/{Path(image['name']).name}", Image.open(io.BytesIO(data)))
    seen = [image["name"] for image in client.images(prepared, **{"class": "glioma", "split": "Training"})]
    keep("glioma/planted-0.png", Image.open(io.BytesIO(client.image(prepared, seen[2]))))
    keep("glioma/planted-1.png", ImageOps.mirror(Image.open(io.BytesIO(client.image(prepared, seen[9])))))
    return str(client.upload(files, name="suspect")["id"])


def audit(client: SynthMRI, suspect: str, prepared: str) -> str:
    return str(client.audit(suspect, prepared, CHECKS)["id"])


@pytest.fixture(scope="module")
def report(client: SynthMRI, suspect: str, prepared: str) -> dict[str, Any]:
    return client.report(made(client.wait(audit(client, suspect, prepared)), "report"))


def test_planted_copies_are_named_in_every_format_and_left_out(
    client: SynthMRI, suspect: str, report: dict[str, Any]
) -> None:
    found = report["report"]
    assert (report["kind"], found["synthetic"]) == ("audit", suspect)
    copies = {
        copy["name"]: copy["mirrored"] for part in found["classes"].values() for copy in part["memorisation"]["copies"]
    }
    assert copies == {"glioma/planted-0.png": False, "glioma/planted-1.png": True}
    assert any("is raw" in warning for warning in found["warnings"])
    table = list(csv.DictReader(io.StringIO(client.report_as(report["id"], "csv").decode())))
    assert [row["sentence"] for row in table if row["row"] == "finding"] == [f["sentence"] for f in found["findings"]]
    page = client.report_as(report["id"], "html").decode()
    assert all(name in page for name in COPIES)
    assert client.report_as(report["id"], "png").startswith(b"\x89PNG")
    for name in report["files"]:
        assert client.report_file(report["id"], name), name
    before = [image["name"] for image in client.images(suspect)]
    clean = made(client.wait(client.exclude(suspect, report["id"])["id"]), "image_set")
    assert [image["name"] for image in client.images(clean)] == [name for name in before if name not in COPIES]
    assert client.image_set(clean)["n_excluded"] == 2
    assert [image["name"] for image in client.images(suspect)] == before


def test_a_killed_worker_changes_nothing(
    platform: EmbeddedPlatform, client: SynthMRI, suspect: str, prepared: str, report: dict[str, Any]
) -> None:
    job_id = under_way(client, lambda: audit(client, suspect, prepared))
    kill_worker(platform, "evaluate")
    again = client.report(made(client.wait(job_id), "report"))
    assert json.dumps(again["report"]) == json.dumps(report["report"])
    csvs = [{name for name in view["files"] if name.endswith(".csv")} for view in (report, again)]
    assert csvs[0] == csvs[1] != set()
    for name in csvs[0]:
        assert client.report_file(again["id"], name) == client.report_file(report["id"], name)
