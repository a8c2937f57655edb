"""A real set without splits is compared as a whole, and no report says that its images are Training images."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from services.evaluator import audit_jobs, evaluation_jobs
from shared.artifacts.store import ArtifactStore
from shared.jobs.runner import run_shard
from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from tests.services.evaluator.image_sets import OWNER, phantoms_u8, served_api, store_set
from tests.services.evaluator.test_evaluation_jobs import store_classifier

pytestmark = [
    pytest.mark.services,
    # Keras remarks that the classifier's feature network was built on a list of one input and called with the input.
    pytest.mark.filterwarnings("ignore:The structure of `inputs`"),
]
Json = dict[str, Any]
Run = Callable[[str, Json], tuple[Json, str, list[str]]]


@pytest.fixture
def client(artifacts: ArtifactStore) -> Iterator[httpx.Client]:
    with served_api() as client:
        yield client


@pytest.fixture
def run(
    client: httpx.Client,
    jobs: JobStore,
    artifacts: ArtifactStore,
    objects: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Runs a job on a set with splits or without, and gives its report, its page, and the labels of its map."""
    labels: list[str] = []

    def note(groups: Any, *_: Any) -> bytes:
        labels.extend(group.label for group in groups)
        return b"png"

    monkeypatch.setattr(evaluation_jobs, "draw_embedding", note)
    monkeypatch.setattr("services.evaluator.reports.audit_files.draw_embedding", note)

    def submit_and_run(path: str, request: Json) -> tuple[Json, str, list[str]]:
        labels.clear()
        answer = client.post(path, json=request)
        assert answer.status_code == 202, answer.text
        job_id = answer.json()["id"]
        finish = evaluation_jobs.finish_evaluation if path == "/evaluate" else audit_jobs.finish_audit
        work = None if path == "/evaluate" else audit_jobs.audit_part
        for number in reversed(jobs.queued_shards(job_id)):
            run_shard(job_id, number, work=work, finish=finish)
        job = jobs.get(job_id, OWNER)
        assert job["status"] == "succeeded", job
        manifest = artifacts.manifest(artifacts.get(job["artifacts"][0]["id"], OWNER, "report"))
        page = objects.get_blob(manifest["objects"]["report.html"]).decode()
        return manifest["report"], page, list(dict.fromkeys(labels))

    return submit_and_run


@pytest.mark.parametrize("has_splits", [True, False])
@pytest.mark.parametrize("path", ["/evaluate", "/audit"])
def test_only_images_of_a_split_are_called_by_one(
    run: Run,
    artifacts: ArtifactStore,
    objects: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    has_splits: bool,
) -> None:
    folder = "Training/" if has_splits else ""
    request: Json = {
        "synthetic": store_set(artifacts, objects, "synthetic", {"glioma": phantoms_u8("glioma", 6, 1, 32)}),
        "real": store_set(artifacts, objects, "preprocessed", {f"{folder}glioma": phantoms_u8("glioma", 8, 2, 32)}),
    }
    if path == "/evaluate":
        model = store_classifier(artifacts, objects, monkeypatch, [])
        request |= {"features": "classifier", "model": model.id, "metrics": ["kid"]}
    else:
        request["checks"] = ["diversity"]
    report, page, labels = run(path, request)
    assert report["split"] == ("Training" if has_splits else "all")
    assert labels == ["synthetic", "real Training" if has_splits else "real"]
    assert ("Training" in page.split("</h1>")[1].split("</p>")[0]) is has_splits
