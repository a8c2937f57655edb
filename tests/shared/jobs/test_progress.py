"""The claim that a thread keeps alive: what it writes, what it survives, and when it ends its process."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from shared.artifacts.store import ArtifactStore
from shared.database import Database
from shared.jobs.claims import Claims
from shared.jobs.progress import STALLED_EXIT_CODE, JobProgress
from shared.jobs.store import JobStore, NewJob
from shared.jobs.submission import Caller, submit
from shared.jobs.sweeper import recover_lost_shards
from tests.support.workers import wait_for, worker

pytestmark = pytest.mark.services

STALL_S = 12.0
"""Longer than a busy machine lets a thread wait, shorter than the work that moves."""


def begin(database: Database, jobs: JobStore) -> tuple[str, JobProgress]:
    """A job whose only shard is claimed, and its progress."""
    job_id, _ = jobs.create(NewJob("evaluate", "team", {}))
    claims = Claims(database, lease_s=30.0)
    claim = claims.claim(job_id, 0)
    assert claim is not None
    return job_id, JobProgress(claims, claim, heartbeat_s=0.1, stall_s=0.0)


def test_facts_that_are_no_numbers_are_none_and_the_job_can_be_read(database: Database, jobs: JobStore) -> None:
    job_id, progress = begin(database, jobs)
    progress.note(loss=float("nan"), validation_loss=float("inf"), lowest=float("-inf"), epoch=3, rate=0.5, phase="x")
    progress.write()
    notes = jobs.get(job_id, "team")["notes"]
    assert notes == {
        "loss": None, "validation_loss": None, "lowest": None, "epoch": 3, "rate": 0.5, "phase": "x",
    }  # fmt: skip
    json.dumps(jobs.get(job_id, "team"), allow_nan=False)


def test_the_heartbeat_outlives_a_write_that_breaks(database: Database, jobs: JobStore) -> None:
    job_id, progress = begin(database, jobs)
    with progress:
        progress.note(loss=np.float32(0.5))  # no float, so JSON refuses it
        time.sleep(0.5)
        progress.note(loss=0.25)
        wait_for(lambda: jobs.get(job_id, "team")["notes"] == {"loss": 0.25})


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestStall:
    @pytest.fixture(autouse=True)
    def _limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SYNTHMRI_STALL_S", str(STALL_S))

    def test_a_worker_whose_work_hangs_ends_itself_and_the_shard_comes_back(
        self, database: Database, artifacts: ArtifactStore, jobs: JobStore, tmp_path: Path
    ) -> None:
        job_id = submit(Caller("team"), "preprocess", {}, shards=[{"n": 1, "step_s": 300}]).job["id"]
        with worker(tmp_path / "a.log") as process:
            assert process.wait(timeout=60) == STALLED_EXIT_CODE
        lines = (tmp_path / "a.log").read_text().splitlines()
        stalled = [json.loads(line) for line in lines if "job_stalled" in line]
        assert [(line["job_id"], line["shard"], line["level"]) for line in stalled] == [(job_id, 0, "error")]
        assert STALL_S <= stalled[0]["seconds"] < STALL_S + 30
        assert stalled[0]["at"][-1].endswith(" count")
        wait_for(lambda: recover_lost_shards(database, 3) == (1, 0))
        view = jobs.get(job_id, "team")
        assert (view["status"], view["attempt"]) == ("queued", 1)

    def test_a_cancelled_job_that_hangs_does_not_keep_its_worker(
        self, database: Database, artifacts: ArtifactStore, jobs: JobStore, tmp_path: Path
    ) -> None:
        job_id = submit(Caller("team"), "preprocess", {}, shards=[{"n": 1, "step_s": 300}]).job["id"]
        with worker(tmp_path / "a.log") as process:
            wait_for(lambda: jobs.get(job_id, "team")["status"] == "running", timeout_s=60.0)
            jobs.cancel(job_id, "team")
            assert process.wait(timeout=60) == STALLED_EXIT_CODE

    def test_slow_work_that_moves_and_a_worker_without_work_live_on(
        self, database: Database, artifacts: ArtifactStore, jobs: JobStore, tmp_path: Path
    ) -> None:
        job_id = submit(Caller("team"), "preprocess", {}, shards=[{"n": 28, "step_s": 0.5}], total=28).job["id"]
        with worker(tmp_path / "a.log") as process:
            wait_for(lambda: jobs.get(job_id, "team")["status"] == "succeeded", timeout_s=90.0)
            time.sleep(STALL_S + 1)
            assert process.poll() is None
