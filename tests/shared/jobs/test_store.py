"""Jobs as users see them: idempotency, ownership, lists, retry."""

import threading
import time
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import update

from shared.cursors import CursorInvalid
from shared.database import Database
from shared.errors import IdempotencyKeyReused, JobAlreadyFinished, JobNotFinished, JobNotFound
from shared.jobs.claims import Claims
from shared.jobs.idempotency import KeyedRequest, remember
from shared.jobs.store import JobAlreadySucceeded, JobStore, NewJob
from shared.jobs.tables import ShardRow
from shared.jobs.turns import next_turn

pytestmark = pytest.mark.services


def new(key: str | None = None, digest: str = "a", owner: str = "team", n_shards: int = 2) -> NewJob:
    shards = [{"part": i} for i in range(n_shards)]
    return NewJob(
        "diffusion.sample",
        owner,
        {"n": 4},
        shards=shards,
        total=4,
        unit="image",
        idempotency_key=key,
        request_hash=digest,
    )


def test_the_same_key_and_request_give_the_same_job(jobs: JobStore) -> None:
    first = jobs.create(new("k"))
    assert first[1] is True
    assert jobs.create(new("k")) == (first[0], False)


def test_the_same_key_with_another_request_is_refused(jobs: JobStore) -> None:
    jobs.create(new("k", "a"))
    with pytest.raises(IdempotencyKeyReused):
        jobs.create(new("k", "b"))


def test_keys_of_two_owners_do_not_meet(jobs: JobStore) -> None:
    assert jobs.create(new("k", "a"))[0] != jobs.create(new("k", "b", owner="others"))[0]


def test_twenty_requests_at_once_make_one_job(jobs: JobStore) -> None:
    made: list[tuple[str, bool]] = []
    barrier = threading.Barrier(20)

    def post() -> None:
        barrier.wait()
        made.append(jobs.create(new("k")))

    threads = [threading.Thread(target=post) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 20
    assert len({job_id for job_id, _ in made}) == 1
    assert sum(is_new for _, is_new in made) == 1


def test_a_foreign_job_is_not_found_and_an_administrator_sees_it(jobs: JobStore) -> None:
    job_id, _ = jobs.create(new())
    with pytest.raises(JobNotFound):
        jobs.get(job_id, "others")
    with pytest.raises(JobNotFound):
        jobs.cancel(job_id, "others")
    assert jobs.get(job_id, None)["id"] == job_id


def test_of_twenty_cancels_at_once_under_one_key_all_answer_the_same(jobs: JobStore) -> None:
    job_id, _ = jobs.create(new())
    answers: list[dict[str, Any]] = []
    barrier = threading.Barrier(20)

    def post() -> None:
        barrier.wait()
        answers.append(jobs.cancel(job_id, "team", KeyedRequest("team", "k", "a")))

    threads = [threading.Thread(target=post) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 20
    assert all(answer == answers[0] for answer in answers)
    with pytest.raises(JobAlreadyFinished):
        jobs.cancel(job_id, "team", KeyedRequest("team", "another key", "a"))


def test_a_key_of_another_request_cancels_nothing(jobs: JobStore, database: Database) -> None:
    job_id, _ = jobs.create(new())
    with database.writing() as session:
        remember(session, "team", "k", "a", "jobs/job-0")
    with pytest.raises(IdempotencyKeyReused):
        jobs.cancel(job_id, "team", KeyedRequest("team", "k", "b"))
    assert jobs.get(job_id, "team")["status"] == "queued"


def test_of_two_cancels_at_once_that_share_a_key_one_is_refused(jobs: JobStore) -> None:
    """Each looks before the other has recorded the key, so the database decides."""
    ids = [jobs.create(new())[0] for _ in range(2)]
    outcomes: dict[str, object] = {}
    barrier = threading.Barrier(2)

    def post(job_id: str) -> None:
        barrier.wait()
        try:
            outcomes[job_id] = jobs.cancel(job_id, "team", KeyedRequest("team", "k", job_id))["status"]
        except IdempotencyKeyReused as error:
            outcomes[job_id] = error.code

    threads = [threading.Thread(target=post, args=(job_id,)) for job_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes.values())) == ["cancelled", "idempotency_key_reused"]
    assert sorted(jobs.get(job_id, "team")["status"] for job_id in ids) == ["cancelled", "queued"]


def test_pages_hold_every_job_once_newest_first(jobs: JobStore) -> None:
    ids = [jobs.create(new())[0] for _ in range(7)]
    seen, cursor = [], None
    while True:
        page, cursor = jobs.list("team", cursor=cursor, limit=3)
        seen += [job["id"] for job in page]
        if cursor is None:
            break
    assert sorted(seen) == sorted(ids)
    assert jobs.list("others") == ([], None)
    with pytest.raises(CursorInvalid):
        jobs.list("team", cursor="not-a-cursor")


def test_a_queued_job_knows_how_many_are_before_it(jobs: JobStore) -> None:
    ids = [jobs.create(new())[0] for _ in range(3)]
    assert [jobs.get(job_id, "team")["queue_position"] for job_id in ids] == [0, 1, 2]


def test_a_position_is_the_place_in_the_order_in_which_workers_serve(jobs: JobStore, database: Database) -> None:
    """The oldest job was served once and goes to the end of the round; one that has no part left stands in no way."""
    ids = [jobs.create(new())[0] for _ in range(3)]
    claims = Claims(database, 30.0)
    oldest = claims.claim(ids[0], 0)
    assert oldest is not None
    assert [jobs.get(job_id, "team")["queue_position"] for job_id in ids] == [None, 0, 1]
    claims.release(oldest, 0.1)
    with database.writing() as session:
        session.execute(update(ShardRow).values(send_after=0.0))
    positions = {job_id: jobs.get(job_id, "team")["queue_position"] for job_id in ids}
    assert positions == {ids[1]: 0, ids[2]: 1, ids[0]: 2}
    for place in range(3):
        turn = next_turn(database, ["preprocess", "diffusion.sample", "diffusion.train", "evaluate"])
        assert turn is not None
        assert positions[turn.job_id] == place
        jobs.cancel(turn.job_id, "team")


def test_retry_takes_over_finished_parts_and_resume_bundles(jobs: JobStore, database: Database) -> None:
    claims = Claims(database, 30.0)
    job_id, _ = jobs.create(new())
    first, second = claims.claim(job_id, 0), claims.claim(job_id, 1)
    assert first is not None
    assert second is not None
    assert claims.beat(first, 2, 2, {})
    claims.finish_shard(first, {"images": [1, 2]})
    claims.save_resume(second, "b" * 64)
    with pytest.raises(JobNotFinished):
        jobs.retry(job_id, new())
    claims.fail(second, "storage_unavailable", "S3 was away")
    again, is_new = jobs.retry(job_id, new("retry-key"))
    assert is_new
    assert jobs.get(again, "team")["retry_of"] == job_id
    assert jobs.queued_shards(again) == [1]
    part = claims.claim(again, 1)
    assert part is not None
    assert part.resume_sha256 == "b" * 64
    assert claims.beat(part, 2, 2, {})
    assert claims.finish_shard(part, {"images": [3, 4]}) == [2]
    time.sleep(0.1)  # the clocks count milliseconds
    looked_at = time.time()
    view = jobs.get(again, "team")
    assert view["progress"]["done"] == 4
    started_at = datetime.fromisoformat(view["started_at"]).timestamp()
    rates = [2 / (now - started_at) for now in (time.time(), looked_at)]  # the first job's two images are no part of it
    assert 0.9 * rates[0] <= view["rate"] <= 1.1 * rates[1]
    last = claims.claim(again, 2)
    assert last is not None
    assert claims.results(last) == [{"images": [1, 2]}, {"images": [3, 4]}]


def test_only_its_owner_and_an_administrator_retry_a_job(jobs: JobStore) -> None:
    """A caller without a name for its owner, as some old keys have none, is no administrator."""
    job_id, _ = jobs.create(new())
    jobs.cancel(job_id, "team")
    for owner in ("others", ""):
        with pytest.raises(JobNotFound):
            jobs.retry(job_id, new(owner=owner))
    again, _ = jobs.retry(job_id, new(owner="ops"), by_administrator=True)
    assert jobs.get(again, "team")["retry_of"] == job_id


def test_the_key_of_an_administrators_retry_is_the_administrators(jobs: JobStore) -> None:
    job_id, _ = jobs.create(new())
    jobs.cancel(job_id, "team")
    again, _ = jobs.retry(job_id, new("k", "retry", owner="ops"), by_administrator=True)
    assert jobs.retry(job_id, new("k", "retry", owner="ops"), by_administrator=True) == (again, False)
    with pytest.raises(IdempotencyKeyReused):
        jobs.create(new("k", "another", owner="ops"))
    theirs, is_new = jobs.create(new("k", "another"))
    assert is_new
    assert jobs.get(theirs, "team")["retry_of"] is None


def test_a_job_that_succeeded_is_not_retried(jobs: JobStore, database: Database) -> None:
    claims = Claims(database, 30.0)
    job_id, _ = jobs.create(new(n_shards=0))
    claim = claims.claim(job_id, 0)
    assert claim is not None
    claims.finish_job(claim, [])
    with pytest.raises(JobAlreadySucceeded):
        jobs.retry(job_id, new())
