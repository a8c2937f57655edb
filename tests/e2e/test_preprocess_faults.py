"""kill -9 of every preprocessing worker in each stage: the result is that of a quiet run."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from shared.client import SynthMRI
from tests.e2e.embedded_platform import EmbeddedPlatform, made
from tests.support.workers import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]

RECIPE = {"rotation": {"share": 1.0}, "bias_field": {}, "duplicates": "none", "size_px": 64}


@pytest.fixture(scope="module")
def raw(client: SynthMRI, phantoms: Path) -> str:
    return str(client.upload(phantoms, name="phantoms to prepare")["id"])


def result(client: SynthMRI, job_id: str) -> tuple[list[dict[str, Any]], bytes]:
    """The images of the prepared set, and the table of the report."""
    job = client.wait(job_id)
    assert job["status"] == "succeeded", job["error"]
    return list(client.images(made(job, "image_set"))), client.report_as(made(job, "report"), "csv")


@pytest.fixture(scope="module")
def undisturbed(client: SynthMRI, raw: str) -> tuple[list[dict[str, Any]], bytes]:
    return result(client, client.preprocess(raw, RECIPE)["id"])


@pytest.mark.parametrize("share", [0.1, 0.6, 1.0], ids=["measuring", "preparing", "finishing"])
def test_killed_workers_change_nothing(
    platform: EmbeddedPlatform, client: SynthMRI, raw: str, undisturbed: Any, share: float
) -> None:
    job_id = client.preprocess(raw, RECIPE)["id"]

    def far_enough() -> bool:
        progress = client.job(job_id)["progress"]
        return bool(progress["done"] >= share * progress["total"])

    wait_for(far_enough, timeout_s=120)
    for process in platform.status()["processes"]:
        if process["name"].startswith("preprocess-worker") and process["pid"]:
            os.kill(process["pid"], signal.SIGKILL)
    assert result(client, job_id) == undisturbed
