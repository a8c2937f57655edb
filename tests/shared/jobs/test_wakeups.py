"""Real workers, real messages: which shard a message leads to, and that no shard is forgotten."""

import json
from pathlib import Path

import pytest

from shared.artifacts.store import ArtifactStore
from shared.database import Database
from shared.jobs.store import JobStore, NewJob
from shared.jobs.submission import Caller, submit
from shared.queue import queue_length, send
from tests.support.workers import wait_for, worker

pytestmark = pytest.mark.services


def status(jobs: JobStore, job_id: str) -> str:
    return str(jobs.get(job_id, None)["status"])


def test_the_message_of_an_ended_job_serves_another(
    database: Database, artifacts: ArtifactStore, jobs: JobStore, tmp_path: Path
) -> None:
    ended = submit(Caller("team"), "preprocess", {}, shards=[{"n": 1, "step_s": 0}] * 3).job["id"]
    jobs.cancel(ended, None)
    unsent, _ = jobs.create(NewJob("preprocess", "team", {}, shards=[{"n": 1, "step_s": 0}] * 3, total=3))
    with worker(tmp_path / "worker.log"):
        wait_for(lambda: status(jobs, unsent) == "succeeded")
    assert (status(jobs, ended), queue_length("preprocess")) == ("cancelled", 0)


def test_a_short_job_ends_while_the_long_one_before_it_goes_on(
    database: Database, artifacts: ArtifactStore, jobs: JobStore, tmp_path: Path
) -> None:
    long = submit(Caller("team"), "preprocess", {}, shards=[{"n": 1, "step_s": 0.1}] * 20, total=20).job["id"]
    with worker(tmp_path / "worker.log"):
        wait_for(lambda: jobs.get(long, None)["progress"]["done"] >= 2)
        short = submit(Caller("team"), "preprocess", {}, shards=[{"n": 1, "step_s": 0.1}]).job["id"]
        before = jobs.get(long, None)["progress"]["done"]
        wait_for(lambda: status(jobs, short) == status(jobs, long) == "succeeded")
    lines = (tmp_path / "worker.log").read_text().splitlines()
    ended = [json.loads(line)["job_id"] for line in lines if "shard_ended" in line]
    until_short_ended = ended[: len(ended) - ended[::-1].index(short)]
    # The shard that was running, and perhaps one more, and what ran until the worker had the message.
    assert until_short_ended.count(long) - before <= 4
    assert queue_length("preprocess") == 0


def test_a_message_of_one_kind_serves_the_other_kind_of_its_queue(
    database: Database, artifacts: ArtifactStore, jobs: JobStore, tmp_path: Path
) -> None:
    older, _ = jobs.create(NewJob("scenario", "team", {}, shards=[{"n": 2, "step_s": 0}], total=2))
    newer, _ = jobs.create(NewJob("classifier.train", "team", {}))
    send("classifier.train", newer, 0)
    with worker(tmp_path / "worker.log", queue="classifier.train"):
        wait_for(lambda: status(jobs, older) == "succeeded")
        assert status(jobs, newer) == "queued"
        send("scenario", "job-unknown", 0)
        wait_for(lambda: status(jobs, newer) == "succeeded")
    names = [artifacts.get(jobs.get(job_id, None)["artifacts"][0]["id"], "team").name for job_id in (older, newer)]
    assert names == ["count", "alone"]  # each was done by the function of its own kind
