"""Files that a job shows while it runs: there at once, kept with the job, guarded by the claim."""

import pytest
from sqlalchemy import update

from shared.artifacts.garbage import collect_garbage
from shared.artifacts.store import ArtifactStore, DraftArtifact
from shared.database import Database, now_s
from shared.jobs import files
from shared.jobs.files import JobFile, JobFileNotFound
from shared.jobs.progress import ClaimLost
from shared.jobs.runner import Execution, run_shard
from shared.jobs.store import JobStore, NewJob
from shared.jobs.sweeper import recover_lost_shards
from shared.jobs.tables import ShardRow
from shared.objects import ObjectStore
from shared.progress import Cancelled

pytestmark = pytest.mark.services


def training(jobs: JobStore) -> str:
    return jobs.create(NewJob("diffusion.train", "team", {}))[0]


def shown(jobs: JobStore, job_id: str) -> dict[str, int]:
    return {file["name"]: file["size_bytes"] for file in jobs.get(job_id, "team")["files"]}


def test_a_file_is_there_at_once_and_stays(jobs: JobStore, artifacts: ArtifactStore, objects: ObjectStore) -> None:
    job_id = training(jobs)

    def work(execution: Execution) -> list[DraftArtifact]:
        assert jobs.get(job_id, "team")["files"] == []
        execution.publish("sheet.png", b"one")
        execution.publish("loss.json", b"[1]")
        assert shown(jobs, job_id) == {"loss.json": 3, "sheet.png": 3}
        execution.publish("sheet.png", b"later")
        assert shown(jobs, job_id) == {"loss.json": 3, "sheet.png": 5}
        return []

    run_shard(job_id, 0, finish=work)
    view = jobs.get(job_id, "team")
    assert (view["status"], shown(jobs, job_id)) == ("succeeded", {"loss.json": 3, "sheet.png": 5})
    assert view["files"][1]["url"] == f"/jobs/{job_id}/files/sheet.png"
    assert objects.get_blob(jobs.file(job_id, "sheet.png", "team").sha256) == b"later"
    assert "files" not in jobs.list("team")[0][0]


@pytest.mark.parametrize("error", [Cancelled(), KeyError("broken")], ids=["cancelled", "failed"])
def test_files_outlive_a_failure_and_go_with_its_retry(
    jobs: JobStore, artifacts: ArtifactStore, error: Exception
) -> None:
    job_id = training(jobs)

    def work(execution: Execution) -> list[DraftArtifact]:
        execution.save_resume(b"half")
        if isinstance(error, Cancelled):
            jobs.cancel(job_id, "team")
        execution.publish("sheet.png", b"one")
        raise error

    run_shard(job_id, 0, finish=work)
    assert jobs.get(job_id, "team")["status"] in ("cancelled", "failed")
    assert shown(jobs, job_id) == {"sheet.png": 3}
    again, _ = jobs.retry(job_id, NewJob("", "team", {}))
    assert shown(jobs, again) == {"sheet.png": 3}


def test_a_worker_whose_claim_was_lost_shows_nothing(
    jobs: JobStore, artifacts: ArtifactStore, database: Database
) -> None:
    job_id = training(jobs)

    def work(execution: Execution) -> list[DraftArtifact]:
        execution.publish("sheet.png", b"mine")
        with database.writing() as session:
            session.execute(update(ShardRow).values(lease_until=now_s() - 1.0))
        assert recover_lost_shards(database, 3) == (1, 0)
        with pytest.raises(ClaimLost):
            execution.publish("sheet.png", b"zombie's")
        raise ClaimLost

    run_shard(job_id, 0, finish=work)
    assert shown(jobs, job_id) == {"sheet.png": 4}


def test_the_newest_files_are_kept(jobs: JobStore, artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FILES", 3)
    job_id = training(jobs)

    def work(execution: Execution) -> list[DraftArtifact]:
        for name in ("d", "c", "b", "d", "a", "e"):
            execution.publish(name, name.encode())
        return []

    run_shard(job_id, 0, finish=work)
    assert list(shown(jobs, job_id)) == ["a", "d", "e"]


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "../x", "a b", "\u00fc.png", "a" * 101, "x\n"])
def test_a_name_that_no_url_can_carry_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name for a file"):
        files.check_file_name(name)


def test_an_unknown_name_says_what_there_is() -> None:
    with pytest.raises(JobFileNotFound, match=r"it has a\.png, b\.png\."):
        files.pick_file([JobFile("a.png", "", 1), JobFile("b.png", "", 1)], "c.png")
    with pytest.raises(JobFileNotFound, match="it has none yet"):
        files.pick_file([], "c.png")
    with pytest.raises(JobFileNotFound, match="and 5 more"):
        files.pick_file([JobFile(f"{k}.png", "", 1) for k in range(25)], "c.png")


def test_the_garbage_collector_keeps_what_is_shown(
    jobs: JobStore, artifacts: ArtifactStore, objects: ObjectStore, database: Database
) -> None:
    job_id = training(jobs)

    def work(execution: Execution) -> list[DraftArtifact]:
        execution.publish("sheet.png", b"old")
        execution.publish("sheet.png", b"new")
        return []

    run_shard(job_id, 0, finish=work)
    assert collect_garbage(database, objects, artifacts, min_age_s=-60.0) == 1
    assert objects.get_blob(jobs.file(job_id, "sheet.png", "team").sha256) == b"new"
