"""Claims on SQLite and PostgreSQL: of two racers exactly one wins, and final states stick."""

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import update

from shared.artifacts.store import ArtifactStore, DraftArtifact
from shared.database import Database, now_s
from shared.errors import JobAlreadyFinished, NotFound
from shared.jobs.claims import Claim, Claims
from shared.jobs.states import JobStatus
from shared.jobs.store import JobStore, NewJob
from shared.jobs.sweeper import recover_lost_shards
from shared.jobs.tables import ShardRow

pytestmark = pytest.mark.services

REPORT = DraftArtifact("report", "analysis", "count", {"report": {}})


@pytest.fixture
def claims(database: Database) -> Claims:
    return Claims(database, lease_s=30.0)


def sampling(jobs: JobStore, n_shards: int = 3) -> str:
    shards = [{"n": 1} for _ in range(n_shards)]
    return jobs.create(NewJob("preprocess", "team", {"n": n_shards}, shards=shards, total=n_shards))[0]


def training(jobs: JobStore) -> str:
    return jobs.create(NewJob("diffusion.train", "team", {"epochs": 1}))[0]


def taken(claims: Claims, job_id: str, number: int = 0) -> Claim:
    claim = claims.claim(job_id, number)
    assert claim is not None
    return claim


def lose_lease(database: Database, claim: Claim) -> None:
    with database.writing() as session:
        mine = update(ShardRow).where(ShardRow.job_id == claim.job_id, ShardRow.number == claim.number)
        session.execute(mine.values(lease_until=now_s() - 1.0))


def race(*actions: Callable[[], object]) -> list[object]:
    """Run all actions at once; returns what each returned or raised."""
    barrier, outcomes = threading.Barrier(len(actions)), [None] * len(actions)

    def run(index: int, action: Callable[[], object]) -> None:
        barrier.wait()
        try:
            outcomes[index] = action()
        except Exception as error:
            outcomes[index] = error

    threads = [threading.Thread(target=run, args=(i, action)) for i, action in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_of_eight_claimers_exactly_one_wins_each_shard(jobs: JobStore, claims: Claims) -> None:
    job_id = sampling(jobs, n_shards=12)
    for number in range(12):
        outcomes = race(*[lambda number=number: claims.claim(job_id, number) for _ in range(8)])
        assert not [o for o in outcomes if isinstance(o, Exception)]
        assert sum(o is not None for o in outcomes) == 1


def test_a_claim_starts_the_job_and_counts_the_attempt(jobs: JobStore, claims: Claims) -> None:
    job_id = training(jobs)
    assert taken(claims, job_id).attempt == 1
    view = jobs.get(job_id, "team")
    assert view["status"] == JobStatus.RUNNING
    assert view["started_at"] is not None


def test_a_redelivered_message_claims_nothing(jobs: JobStore, claims: Claims) -> None:
    job_id = training(jobs)
    claim = taken(claims, job_id)
    assert claims.claim(job_id, 0) is None
    assert claims.finish_job(claim, [])
    assert claims.claim(job_id, 0) is None
    assert claims.claim("job-unknown", 0) is None
    assert claims.claim(job_id, 7) is None


def test_a_job_cancelled_before_its_start_is_never_claimed(jobs: JobStore, claims: Claims) -> None:
    job_id = training(jobs)
    assert jobs.cancel(job_id, "team")["status"] == JobStatus.CANCELLED
    assert claims.claim(job_id, 0) is None
    with pytest.raises(JobAlreadyFinished):
        jobs.cancel(job_id, "team")


def test_cancel_against_claim_never_runs_a_cancelled_job(jobs: JobStore, claims: Claims) -> None:
    for _ in range(10):
        job_id = training(jobs)
        claim, _ = race(lambda: claims.claim(job_id, 0), lambda: jobs.cancel(job_id, "team"))  # noqa: B023
        assert jobs.get(job_id, "team")["status"] == JobStatus.CANCELLED
        if isinstance(claim, Claim):
            assert claims.standing(claim) == JobStatus.CANCELLED
            assert not claims.finish_job(claim, [])


def test_of_cancel_and_finish_one_wins_and_the_state_sticks(
    jobs: JobStore, claims: Claims, artifacts: ArtifactStore
) -> None:
    seen = set()
    for _ in range(12):
        job_id = training(jobs)
        claim = taken(claims, job_id)
        row = artifacts.write_manifest(REPORT, owner="team", job_id=job_id)
        finished, cancelled = race(
            lambda: claims.finish_job(claim, [row]),  # noqa: B023
            lambda: jobs.cancel(job_id, "team"),  # noqa: B023
        )
        status = jobs.get(job_id, "team")["status"]
        seen.add(status)
        if finished is True:
            assert status == JobStatus.SUCCEEDED
            assert isinstance(cancelled, JobAlreadyFinished)
            assert artifacts.get(row.id, "team").job_id == job_id
        else:
            assert status == JobStatus.CANCELLED
            with pytest.raises(NotFound):
                artifacts.get(row.id, "team", "report")
        assert not claims.fail(claim, "late", "too late")
        assert jobs.get(job_id, "team")["status"] == status
    assert seen <= {JobStatus.SUCCEEDED, JobStatus.CANCELLED}


def test_the_last_part_and_only_the_last_frees_the_finishing_step(jobs: JobStore, claims: Claims) -> None:
    job_id = sampling(jobs, n_shards=4)
    assert claims.claim(job_id, 4) is None
    held = [taken(claims, job_id, number) for number in range(4)]
    outcomes = race(*[lambda claim=claim: claims.finish_shard(claim, {"number": claim.number}) for claim in held])
    assert sorted(str(o) for o in outcomes) == ["[4]", "[]", "[]", "[]"]
    last = taken(claims, job_id, 4)
    assert claims.results(last) == [{"number": number} for number in range(4)]
    assert claims.finish_job(last, [])


def test_a_stage_waits_for_every_shard_of_the_stage_before(jobs: JobStore, claims: Claims) -> None:
    shards = [{"stage": stage} for stage in (0, 0, 1, 2, 2)]
    job_id, _ = jobs.create(NewJob(kind="preprocess", owner="team", request={}, shards=shards, total=5))
    assert jobs.queued_shards(job_id) == [0, 1]
    assert claims.claim(job_id, 2) is None
    assert claims.finish_shard(taken(claims, job_id, 1), {"part": 1}) == []
    assert claims.finish_shard(taken(claims, job_id, 0), {"part": 0}) == [2]
    middle = taken(claims, job_id, 2)
    assert claims.results(middle) == [{"part": 0}, {"part": 1}]
    assert claims.finish_shard(middle, {"part": 2}) == [3, 4]
    held = [taken(claims, job_id, number) for number in (3, 4)]
    assert claims.results(held[0]) == [{"part": 0}, {"part": 1}, {"part": 2}]
    outcomes = race(*[lambda claim=claim: claims.finish_shard(claim, {"part": claim.number}) for claim in held])
    assert sorted(str(outcome) for outcome in outcomes) == ["[5]", "[]"]
    assert claims.finish_job(taken(claims, job_id, 5), [])


def test_a_retry_goes_on_in_the_stage_that_broke(jobs: JobStore, claims: Claims) -> None:
    shards = [{"stage": stage} for stage in (0, 1, 1)]
    job_id, _ = jobs.create(NewJob(kind="preprocess", owner="team", request={}, shards=shards, total=3))
    claims.finish_shard(taken(claims, job_id, 0), {"part": 0})
    claims.finish_shard(taken(claims, job_id, 1), {"part": 1})
    claims.fail(taken(claims, job_id, 2), "broke", "It broke.")
    again, _ = jobs.retry(job_id, NewJob(kind="", owner="team", request={}))
    assert jobs.queued_shards(again) == [2]
    assert claims.finish_shard(taken(claims, again, 2), {"part": 2}) == [3]


def test_a_worker_whose_claim_was_lost_changes_nothing(jobs: JobStore, claims: Claims, database: Database) -> None:
    job_id = sampling(jobs, n_shards=1)
    zombie = taken(claims, job_id)
    lose_lease(database, zombie)
    assert recover_lost_shards(database, max_attempts=3) == (1, 0)
    assert jobs.get(job_id, "team")["status"] == JobStatus.QUEUED
    heir = taken(claims, job_id)
    assert heir.attempt == 2
    assert claims.standing(zombie) is None
    assert not claims.beat(zombie, 1, 1, {})
    assert not claims.save_resume(zombie, "0" * 64)
    assert claims.finish_shard(zombie, {"by": "zombie"}) == []
    assert not claims.fail(zombie, "late", "too late")
    assert not claims.release(zombie, 0.0)
    assert claims.finish_shard(heir, {"by": "heir"}) == [1]
    assert claims.results(taken(claims, job_id, 1)) == [{"by": "heir"}]


def test_a_heartbeat_keeps_the_claim(jobs: JobStore, claims: Claims, database: Database) -> None:
    claim = taken(claims, training(jobs))
    lose_lease(database, claim)
    assert claims.beat(claim, 5, 10, {"loss": 0.5})
    assert recover_lost_shards(database, max_attempts=3) == (0, 0)
    view = jobs.get(claim.job_id, "team")
    assert view["progress"]["done"] == 5
    assert view["notes"] == {"loss": 0.5}


def test_a_job_that_kills_three_workers_is_poisoned(jobs: JobStore, claims: Claims, database: Database) -> None:
    job_id = training(jobs)
    for attempt in range(3):
        lose_lease(database, taken(claims, job_id))
        assert recover_lost_shards(database, max_attempts=3) == ((0, 1) if attempt == 2 else (1, 0))
    view = jobs.get(job_id, "team")
    assert view["status"] == JobStatus.FAILED
    assert view["error"]["code"] == "poisoned"
    assert claims.claim(job_id, 0) is None


def test_lasting_progress_counts_attempts_anew(jobs: JobStore, claims: Claims, database: Database) -> None:
    job_id = training(jobs)
    for _ in range(6):
        claim = taken(claims, job_id)
        assert claims.save_resume(claim, "a" * 64)
        lose_lease(database, claim)
        assert recover_lost_shards(database, max_attempts=3) == (1, 0)
    assert taken(claims, job_id).resume_sha256 == "a" * 64


def test_handing_back_after_lasting_progress_leaves_no_attempt(
    jobs: JobStore, claims: Claims, database: Database
) -> None:
    job_id = training(jobs)
    for _ in range(2):
        lose_lease(database, taken(claims, job_id))
        recover_lost_shards(database, max_attempts=3)
    claim = taken(claims, job_id)
    assert claim.attempt == 3
    assert claims.save_resume(claim, "a" * 64)
    assert claims.release(claim, 5.0)
    again = taken(claims, job_id)
    assert (again.attempt, claims.delays(again)) == (1, 1)
    assert claims.save_resume(again, "b" * 64)
    assert claims.delays(again) == 0


def test_a_finished_job_keeps_no_resume_bundle(jobs: JobStore, claims: Claims, database: Database) -> None:
    claim = taken(claims, training(jobs))
    claims.save_resume(claim, "a" * 64)
    assert claims.finish_job(claim, [])
    with database.reading() as session:
        assert session.get_one(ShardRow, (claim.job_id, 0)).resume_sha256 is None


def test_a_bundle_that_broke_the_job_is_not_taken_over(jobs: JobStore, claims: Claims) -> None:
    claim = taken(claims, training(jobs))
    claims.save_resume(claim, "a" * 64)
    assert claims.fail(claim, "resume_bundle_mismatch", "It belongs to another training.", discard_resume=True)
    again, _ = jobs.retry(claim.job_id, NewJob("", "team", {}))
    assert taken(claims, again).resume_sha256 is None


def test_handing_back_queues_the_job_and_costs_no_attempt(jobs: JobStore, claims: Claims) -> None:
    job_id = training(jobs)
    for _ in range(5):
        claim = taken(claims, job_id)
        assert claim.attempt == 1
        assert claims.release(claim, 0.0)
        assert jobs.get(job_id, "team")["status"] == JobStatus.QUEUED


def test_of_sweeper_and_finisher_one_wins(jobs: JobStore, claims: Claims, database: Database) -> None:
    for _ in range(8):
        job_id = training(jobs)
        claim = taken(claims, job_id)
        lose_lease(database, claim)
        finished, swept = race(
            lambda: claims.finish_job(claim, []),  # noqa: B023
            lambda: recover_lost_shards(database, max_attempts=3),
        )
        assert (finished, swept) in ((True, (0, 0)), (False, (1, 0)))
        assert jobs.get(job_id, "team")["status"] == (JobStatus.SUCCEEDED if finished else JobStatus.QUEUED)
