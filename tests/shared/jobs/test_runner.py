"""The runner in this process: every way a piece of work can end, and what the row says afterwards."""

import time

import pytest
from sqlalchemy import select, update

from shared.artifacts.store import ArtifactStore, DraftArtifact
from shared.database import Database, now_s
from shared.errors import InvalidInput, StorageUnavailable
from shared.jobs.progress import ClaimLost, stop_working
from shared.jobs.runner import Execution, run_shard
from shared.jobs.store import JobStore, NewJob
from shared.jobs.sweeper import recover_lost_shards
from shared.jobs.tables import ShardRow
from shared.objects import ObjectStore, blob_key
from tests.support.workers import wait_for

pytestmark = pytest.mark.services


class TooFewThings(InvalidInput):
    """A test's own expected failure."""


def keep(execution: Execution) -> list[DraftArtifact]:
    body = {"report": {"results": execution.results, "resume": (execution.load_resume() or b"").decode()}}
    return [DraftArtifact("report", "analysis", "kept", body)]


def single(jobs: JobStore) -> str:
    return jobs.create(NewJob("evaluate", "team", {"x": 1}))[0]


def test_parts_then_the_finishing_step_make_the_artifact(jobs: JobStore, artifacts: ArtifactStore) -> None:
    job_id, _ = jobs.create(NewJob("preprocess", "team", {"x": 1}, shards=[{"i": 0}, {"i": 1}], total=2))

    def work(execution: Execution) -> dict[str, int]:
        execution.progress.update(1, 1)
        return {"i": execution.spec["i"]}

    run_shard(job_id, 1, work=work, finish=keep)
    assert jobs.get(job_id, "team")["progress"]["done"] == 1
    run_shard(job_id, 0, work=work, finish=keep)
    view = jobs.get(job_id, "team")
    assert view["status"] == "succeeded"
    assert view["progress"] == {"done": 2, "total": 2, "unit": "step"}
    artifact = artifacts.get(view["artifacts"][0]["id"], "team", "report")
    assert artifacts.manifest(artifact)["report"]["results"] == [{"i": 0}, {"i": 1}]
    assert artifacts.manifest(artifact)["request"] == {"x": 1}
    run_shard(job_id, 0, work=work, finish=keep)
    assert jobs.get(job_id, "team") == view


def test_an_expected_failure_keeps_its_code_and_sentence(jobs: JobStore, artifacts: ArtifactStore) -> None:
    def refuse(_: Execution) -> list[DraftArtifact]:
        raise TooFewThings("Send at least two things.")

    job_id = single(jobs)
    run_shard(job_id, 0, finish=refuse)
    assert jobs.get(job_id, "team")["error"] == {"code": "too_few_things", "detail": "Send at least two things."}


def test_an_unexpected_failure_says_nothing_about_the_inside(jobs: JobStore, artifacts: ArtifactStore) -> None:
    def explode(_: Execution) -> list[DraftArtifact]:
        raise KeyError("secret path")

    job_id = single(jobs)
    run_shard(job_id, 0, finish=explode)
    error = jobs.get(job_id, "team")["error"]
    assert error["code"] == "internal"
    assert "secret" not in error["detail"]


def test_work_without_a_function_for_its_parts_is_internal(jobs: JobStore, artifacts: ArtifactStore) -> None:
    job_id, _ = jobs.create(NewJob("evaluate", "team", {}, shards=[{}]))
    run_shard(job_id, 0, finish=keep)
    assert jobs.get(job_id, "team")["error"]["code"] == "internal"


def test_something_down_delays_the_work_and_then_gives_up(
    jobs: JobStore, artifacts: ArtifactStore, database: Database
) -> None:
    def down(_: Execution) -> list[DraftArtifact]:
        raise StorageUnavailable("The object store does not answer.")

    job_id = single(jobs)
    run_shard(job_id, 0, finish=down)
    assert jobs.get(job_id, "team")["status"] == "queued"
    with database.writing() as session:
        session.execute(update(ShardRow).values(delays=99))
    run_shard(job_id, 0, finish=down)
    assert jobs.get(job_id, "team")["error"]["code"] == "storage_unavailable"


def test_a_cancel_is_seen_at_the_next_step(jobs: JobStore, artifacts: ArtifactStore) -> None:
    job_id = single(jobs)
    steps_after_cancel = 0

    def work(execution: Execution) -> list[DraftArtifact]:
        nonlocal steps_after_cancel
        for step in range(100):
            execution.progress.raise_if_cancelled()
            if step == 3:
                jobs.cancel(job_id, "team")
            elif step > 3:
                steps_after_cancel += 1
            time.sleep(0.06)
        return []

    run_shard(job_id, 0, finish=work)
    assert steps_after_cancel == 0
    assert jobs.get(job_id, "team")["status"] == "cancelled"


def test_a_stopping_worker_hands_its_work_back(jobs: JobStore, artifacts: ArtifactStore) -> None:
    def work(execution: Execution) -> list[DraftArtifact]:
        execution.save_resume(b"half")
        stop_working()
        execution.progress.raise_if_cancelled()
        return []

    job_id = single(jobs)
    run_shard(job_id, 0, finish=work)
    view = jobs.get(job_id, "team")
    assert (view["status"], view["attempt"]) == ("queued", 0)


def test_the_next_worker_gets_the_resume_bundle(jobs: JobStore, artifacts: ArtifactStore, database: Database) -> None:
    job_id = single(jobs)

    def die(execution: Execution) -> list[DraftArtifact]:
        execution.save_resume(b"half")
        raise ClaimLost

    run_shard(job_id, 0, finish=die)
    with database.writing() as session:
        session.execute(update(ShardRow).values(lease_until=now_s() - 1.0))
    assert recover_lost_shards(database, 3) == (1, 0)
    run_shard(job_id, 0, finish=keep)
    artifact = artifacts.get(jobs.get(job_id, "team")["artifacts"][0]["id"], "team")
    assert artifacts.manifest(artifact)["report"]["resume"] == "half"


def test_a_long_training_keeps_two_resume_bundles(
    jobs: JobStore, artifacts: ArtifactStore, objects: ObjectStore
) -> None:
    stored: list[int] = []

    def train(execution: Execution) -> list[DraftArtifact]:
        for step in range(6):
            execution.save_resume(f"step {step}".encode())
            stored.append(len(list(objects.list("blobs/"))))
        return keep(execution)

    job_id = single(jobs)
    run_shard(job_id, 0, finish=train)
    assert stored == [1, 2, 2, 2, 2, 2]
    assert jobs.get(job_id, "team")["status"] == "succeeded"


def test_a_damaged_resume_bundle_starts_the_work_again(
    jobs: JobStore, artifacts: ArtifactStore, objects: ObjectStore, database: Database
) -> None:
    job_id = single(jobs)

    def die(execution: Execution) -> list[DraftArtifact]:
        execution.save_resume(b"half")
        objects.put(blob_key(execution.bundles[-1]), b"hAlf")
        raise ClaimLost

    run_shard(job_id, 0, finish=die)
    with database.writing() as session:
        session.execute(update(ShardRow).values(lease_until=now_s() - 1.0))
    recover_lost_shards(database, 3)
    run_shard(job_id, 0, finish=keep)
    view = jobs.get(job_id, "team")
    assert view["status"] == "succeeded"
    assert "is damaged; the work started from its beginning" in view["notes"]["resume"]


def test_what_a_retry_took_outlives_the_cancelled_work(
    jobs: JobStore, artifacts: ArtifactStore, objects: ObjectStore
) -> None:
    """The worker saves twice more after the cancel: while it uploaded, and last of all."""
    job_id, again = single(jobs), ""

    def train(execution: Execution) -> list[DraftArtifact]:
        nonlocal again
        execution.save_resume(b"first")
        jobs.cancel(job_id, "team")
        again, _ = jobs.retry(job_id, NewJob("", "team", {}))
        for data in (b"second", b"third", b"fourth"):
            execution.save_resume(data)
        execution.progress.raise_if_cancelled()
        return []

    run_shard(job_id, 0, finish=train)
    taken = jobs.resume_bundle(again)
    assert taken is not None
    assert objects.get_blob(taken) == b"first"
    newest = jobs.resume_bundle(job_id)
    assert newest is not None
    assert objects.get_blob(newest) == b"fourth"
    run_shard(again, 0, finish=keep)
    artifact = artifacts.get(jobs.get(again, "team")["artifacts"][0]["id"], "team")
    assert artifacts.manifest(artifact)["report"]["resume"] == "first"
    assert "resume" not in jobs.get(again, "team")["notes"]


def test_a_retry_saves_what_it_began_with_and_leaves_it_to_the_job_it_came_from(
    jobs: JobStore, artifacts: ArtifactStore, objects: ObjectStore
) -> None:
    job_id = single(jobs)

    def stop(execution: Execution) -> list[DraftArtifact]:
        execution.save_resume(b"first")
        raise TooFewThings("stopped")

    run_shard(job_id, 0, finish=stop)
    again, _ = jobs.retry(job_id, NewJob("", "team", {}))

    def train(execution: Execution) -> list[DraftArtifact]:
        for data in (execution.load_resume() or b"", b"second", b"third", b"fourth"):
            execution.save_resume(data)
        return keep(execution)

    run_shard(again, 0, finish=train)
    first = jobs.resume_bundle(job_id)
    assert first is not None
    assert objects.get_blob(first) == b"first"


def test_a_retry_whose_bundle_is_gone_says_that_it_starts_anew(
    jobs: JobStore, artifacts: ArtifactStore, objects: ObjectStore
) -> None:
    job_id = single(jobs)

    def stop(execution: Execution) -> list[DraftArtifact]:
        execution.save_resume(b"half")
        raise TooFewThings("stopped")

    run_shard(job_id, 0, finish=stop)
    again, _ = jobs.retry(job_id, NewJob("", "team", {}))
    objects.delete(blob_key(jobs.resume_bundle(again) or ""))
    run_shard(again, 0, finish=keep)
    view = jobs.get(again, "team")
    assert view["status"] == "succeeded"
    assert "is missing; the work started from its beginning" in view["notes"]["resume"]


def test_a_fenced_worker_learns_it_and_stores_nothing(
    jobs: JobStore, artifacts: ArtifactStore, database: Database
) -> None:
    job_id = single(jobs)

    def slow(execution: Execution) -> list[DraftArtifact]:
        with database.writing() as session:
            session.execute(update(ShardRow).values(token="somebody-else"))
        with pytest.raises(ClaimLost):
            execution.save_resume(b"late")
        with pytest.raises(ClaimLost):
            execution.progress.raise_if_cancelled()
        return keep(execution)

    run_shard(job_id, 0, finish=slow)
    assert jobs.get(job_id, "team")["artifacts"] == []
    assert artifacts.list("team", "report") == ([], None)


def test_the_heartbeat_outlives_a_short_lease(jobs: JobStore, artifacts: ArtifactStore, database: Database) -> None:
    job_id = single(jobs)

    def lease_until() -> float:
        with database.reading() as session:
            return session.scalars(select(ShardRow.lease_until).where(ShardRow.job_id == job_id)).one() or 0.0

    def slow(execution: Execution) -> list[DraftArtifact]:
        first = lease_until()
        wait_for(lambda: lease_until() > first + 3.0)  # a lease is 2 s
        return keep(execution)

    run_shard(job_id, 0, finish=slow)
    assert jobs.get(job_id, "team")["status"] == "succeeded"
