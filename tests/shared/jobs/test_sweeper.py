"""The sweeper with a real broker: messages that were lost are sent, and a backlog is not sent twice."""

import pytest
from sqlalchemy import update

from shared import queue
from shared.database import Database
from shared.errors import QueueUnavailable
from shared.jobs.store import JobStore, NewJob
from shared.jobs.submission import Caller, submit
from shared.jobs.sweeper import Swept, sweep
from shared.jobs.tables import ShardRow
from shared.objects import ObjectStore
from tests.support import servers

pytestmark = pytest.mark.services


def make_due(database: Database) -> None:
    with database.writing() as session:
        session.execute(update(ShardRow).values(send_after=0.0))


def test_a_job_whose_message_could_not_be_sent_is_accepted_and_sent_later(
    database: Database, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    good_url = queue.get_settings().redis_url
    monkeypatch.setenv("SYNTHMRI_REDIS_URL", f"redis://127.0.0.1:{servers.free_port()}/0")
    for cached in (queue.get_settings, queue.get_celery, queue.get_redis):
        cached.cache_clear()
    accepted = submit(Caller("team"), "preprocess", {})
    assert accepted.job["status"] == "queued"
    with pytest.raises(QueueUnavailable):
        queue.send("preprocess", accepted.job["id"], 0)
    monkeypatch.setenv("SYNTHMRI_REDIS_URL", good_url)
    for cached in (queue.get_settings, queue.get_celery, queue.get_redis):
        cached.cache_clear()
    assert queue.queue_length("preprocess") == 0
    make_due(database)
    assert sweep(database, 3) == Swept(0, 0, 1)
    assert queue.queue_length("preprocess") == 1


def test_a_backlog_is_not_sent_again(jobs: JobStore, database: Database) -> None:
    shards = [{} for _ in range(20)]
    accepted = submit(Caller("team"), "diffusion.sample", {}, shards=shards, total=20)
    assert accepted.response().headers["Location"] == f"/jobs/{accepted.job['id']}"
    assert queue.queue_length("diffusion.sample") == 20
    make_due(database)
    assert sweep(database, 3).sent == 0


def test_each_sending_waits_longer_for_the_next(jobs: JobStore, database: Database) -> None:
    jobs.create(NewJob("evaluate", "team", {}))
    make_due(database)
    assert sweep(database, 3).sent == 1
    queue.get_redis().delete("evaluate")
    assert sweep(database, 3).sent == 0


def test_the_messages_of_a_finished_job_are_not_sent(jobs: JobStore, database: Database) -> None:
    job_id, _ = jobs.create(NewJob("evaluate", "team", {}))
    make_due(database)
    jobs.cancel(job_id, "team")
    assert sweep(database, 3) == Swept(0, 0, 0)
