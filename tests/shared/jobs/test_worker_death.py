"""Real workers on a real broker, killed with SIGKILL: nothing is lost, nothing is done to two results."""

import signal
import time
from pathlib import Path

import pytest

from shared.artifacts.store import ArtifactStore
from shared.database import Database
from shared.jobs.store import JobStore
from shared.jobs.submission import Caller, submit
from shared.jobs.sweeper import sweep
from tests.support.workers import wait_for, worker

pytestmark = pytest.mark.services


def status(jobs: JobStore, job_id: str) -> str:
    return str(jobs.get(job_id, None)["status"])


def sweep_until_final(database: Database, jobs: JobStore, job_id: str, timeout_s: float = 60.0) -> None:
    def final() -> bool:
        sweep(database, max_attempts=3)
        time.sleep(0.1)
        return status(jobs, job_id) in ("succeeded", "failed", "cancelled")

    wait_for(final, timeout_s)


def test_a_killed_worker_loses_no_shard(
    database: Database, artifacts: ArtifactStore, jobs: JobStore, tmp_path: Path
) -> None:
    shards = [{"n": 4, "step_s": 0.1, "hang_at": 2 if number == 2 else None} for number in range(6)]
    job_id = submit(Caller("team"), "preprocess", {}, shards=shards, total=24).job["id"]
    with worker(tmp_path / "a.log") as first:
        wait_for(lambda: jobs.get(job_id, None)["progress"]["done"] >= 10)  # and stays there
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert status(jobs, job_id) == "running"
    with worker(tmp_path / "b.log"):
        sweep_until_final(database, jobs, job_id)
    view = jobs.get(job_id, None)
    assert view["status"] == "succeeded", (tmp_path / "b.log").read_text()[-3000:]
    report = artifacts.manifest(artifacts.get(view["artifacts"][0]["id"], "team"))["report"]
    assert report == {"sum": 24}
    assert len(artifacts.list("team", "report")[0]) == 1


def test_a_shard_that_kills_its_worker_three_times_fails_the_job(
    database: Database, artifacts: ArtifactStore, jobs: JobStore, tmp_path: Path
) -> None:
    job_id = submit(Caller("team"), "preprocess", {}, shards=[{"poison": True}]).job["id"]
    for attempt in range(3):
        with worker(tmp_path / f"{attempt}.log") as process:

            def dead(process=process) -> bool:
                sweep(database, max_attempts=3)
                return process.poll() is not None

            wait_for(dead)
    sweep_until_final(database, jobs, job_id)
    assert jobs.get(job_id, None)["error"]["code"] == "poisoned"


def test_a_stopped_worker_hands_back_at_once(
    database: Database, artifacts: ArtifactStore, jobs: JobStore, tmp_path: Path
) -> None:
    job_id = submit(Caller("team"), "preprocess", {}, shards=[{"n": 1000, "step_s": 0.05}], total=1000).job["id"]
    with worker(tmp_path / "a.log") as process:
        wait_for(lambda: jobs.get(job_id, None)["progress"]["done"] > 0)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    view = jobs.get(job_id, None)
    assert (view["status"], view["attempt"]) == ("queued", 0)
