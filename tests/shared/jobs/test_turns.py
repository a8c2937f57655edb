"""Jobs of one queue take turns: shard by shard, none twice, none lost, and no job is starved by others."""

import threading
import time
from collections import Counter

import pytest
from sqlalchemy import update

from shared.database import Database, now_s
from shared.jobs.claims import Claim, Claims
from shared.jobs.store import JobStore, NewJob
from shared.jobs.sweeper import recover_lost_shards
from shared.jobs.tables import JobRow, ShardRow
from shared.jobs.turns import next_turn

pytestmark = pytest.mark.services

KINDS = ["diffusion.sample"]


def drawing(jobs: JobStore, n_shards: int, kind: str = "diffusion.sample") -> str:
    time.sleep(0.002)  # SQLite's clock counts milliseconds
    return jobs.create(NewJob(kind, "team", {}, shards=[{}] * n_shards, total=n_shards))[0]


def take(database: Database, kinds: list[str] = KINDS) -> Claim | None:
    """Claim the shard whose turn it is, as a worker does."""
    claims = Claims(database, 30.0)
    while (turn := next_turn(database, kinds)) is not None:
        if (claim := claims.claim(turn.job_id, turn.number)) is not None:
            time.sleep(0.002)
            return claim
    return None


def work_off(database: Database, kinds: list[str] = KINDS, most: int = 1000) -> list[tuple[str, int]]:
    """What one worker does, in its order, until nothing is left; finishing steps included."""
    claims, done = Claims(database, 30.0), []
    while len(done) < most and (claim := take(database, kinds)) is not None:
        done.append((claim.job_id, claim.number))
        _ = claims.finish_job(claim, []) if claim.finishes else claims.finish_shard(claim, {})
    return done


def test_two_jobs_take_turns(jobs: JobStore, database: Database) -> None:
    first, second = drawing(jobs, 4), drawing(jobs, 4)
    done = work_off(database)
    assert [job_id for job_id, _ in done[:8]] == [first, second] * 4
    assert [number for job_id, number in done if job_id == second] == [0, 1, 2, 3, 4]


def test_a_short_job_waits_for_at_most_two_shards_of_a_long_one(jobs: JobStore, database: Database) -> None:
    long = drawing(jobs, 40)
    work_off(database, most=5)
    running = take(database)
    assert running is not None
    short = drawing(jobs, 1)
    Claims(database, 30.0).finish_shard(running, {})
    assert (short, 0) in work_off(database, most=2)
    work_off(database)
    assert jobs.get(long, "team")["status"] == "succeeded"


def test_a_stream_of_short_jobs_does_not_starve_a_long_one(jobs: JobStore, database: Database) -> None:
    long = drawing(jobs, 10)
    served = 0
    for _ in range(10):
        drawing(jobs, 1), drawing(jobs, 1)
        served += sum(job_id == long for job_id, _ in work_off(database, most=5))
    assert served >= 10


def test_of_many_workers_each_shard_goes_to_one(jobs: JobStore, database: Database) -> None:
    sizes = {drawing(jobs, n): n for n in (1, 7, 12, 20)}
    taken: list[tuple[str, int]] = []
    barrier = threading.Barrier(6)

    def worker() -> None:
        barrier.wait()
        taken.extend(work_off(database))

    workers = [threading.Thread(target=worker) for _ in range(6)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    # A worker that comes to an end leaves the finishing step to the one that freed it, or to a later message.
    taken += work_off(database)
    assert max(Counter(taken).values()) == 1
    assert set(taken) == {(job_id, number) for job_id, n in sizes.items() for number in range(n + 1)}
    assert {jobs.get(job_id, "team")["status"] for job_id in sizes} == {"succeeded"}


def test_only_kinds_that_the_worker_knows_are_chosen(jobs: JobStore, database: Database) -> None:
    training = drawing(jobs, 1, "classifier.train")
    scenario = drawing(jobs, 1, "scenario")
    assert next_turn(database, KINDS) is None
    assert [job_id for job_id, _ in work_off(database, ["scenario"])] == [scenario] * 2
    assert [job_id for job_id, _ in work_off(database, ["scenario", "classifier.train"])] == [training] * 2


def test_a_shard_that_waits_for_something_down_is_left_until_its_time(jobs: JobStore, database: Database) -> None:
    job_id = drawing(jobs, 1)
    claim = take(database)
    assert claim is not None
    Claims(database, 30.0).release(claim, 60.0)
    assert take(database) is None
    with database.writing() as session:
        session.execute(update(ShardRow).values(send_after=now_s() - 1.0))
    again = take(database)
    assert again is not None
    assert (again.job_id, again.number) == (job_id, 0)


@pytest.mark.parametrize("how", ["handed back", "lost"])
def test_a_turn_that_came_to_nothing_is_given_back(jobs: JobStore, database: Database, how: str) -> None:
    first, _ = drawing(jobs, 1), drawing(jobs, 1)
    claim = take(database)
    assert claim is not None
    if how == "handed back":
        Claims(database, 30.0).release(claim, 0.0)
    else:
        with database.writing() as session:
            session.execute(update(ShardRow).where(ShardRow.token == claim.token).values(lease_until=now_s() - 1.0))
        assert recover_lost_shards(database, 3) == (1, 0)
    turn = next_turn(database, KINDS)
    assert turn is not None
    assert turn.job_id == first


def test_ended_jobs_have_no_turn(jobs: JobStore, database: Database) -> None:
    jobs.cancel(drawing(jobs, 3), "team")
    assert next_turn(database, KINDS) is None


def test_a_turn_is_found_fast_among_many_shards(jobs: JobStore, database: Database) -> None:
    for _ in range(20):
        drawing(jobs, 300)
    with database.writing() as session:
        session.execute(update(JobRow).values(served_at=now_s()))
    seconds = []
    for _ in range(10):
        started = time.perf_counter()
        assert next_turn(database, KINDS) is not None
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.1  # measured: 2 ms on SQLite, 6 ms on PostgreSQL
