"""The sweeper as a process, over a database that is away for a while."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from shared.database import Database
from shared.jobs.claims import Claims
from shared.jobs.store import JobStore, NewJob
from shared.jobs.sweeper import HEARTBEAT_KEY
from shared.queue import get_redis
from tests.support.workers import ROOT, wait_for

pytestmark = [pytest.mark.services, pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)]


@pytest.fixture
def sweeper(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A sweeper that waits 12 s for heartbeats; what it logs."""
    monkeypatch.setenv("SYNTHMRI_HEARTBEAT_S", "4")
    log = tmp_path / "sweeper.log"
    with log.open("ab") as out:
        process = subprocess.Popen([sys.executable, "-m", "shared.jobs.sweeper"], cwd=ROOT, stdout=out, stderr=out)
    wait_for(lambda: get_redis().exists(HEARTBEAT_KEY))
    yield log
    process.terminate()
    process.wait(timeout=60)


@contextmanager
def reading_only(database: Database, server: str) -> Iterator[None]:
    """Let every connection of the database read only, as a server does whose disk is full."""
    name = database.engine.url.database
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        connection.execute(end, [name])
        yield
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = off')
        connection.execute(end, [name])


def lose_lease(database: Database, server: str) -> None:
    """What the time does to a lease that nobody can renew; this connection alone may write."""
    name, may_write = database.engine.url.database, "-c default_transaction_read_only=off"
    with psycopg.connect(f"{server}/{name}", options=may_write) as connection:
        connection.execute("UPDATE shards SET lease_until = lease_until - 60")


@pytest.mark.parametrize("away_s", [2.5, 14.0])
def test_claims_of_living_workers_outlive_a_time_without_writes(
    jobs: JobStore, database: Database, postgresql_url: str, sweeper: Path, away_s: float
) -> None:
    """The lease runs out while nobody can renew it, and the worker is late to do so."""
    claims = Claims(database, 30.0)
    claim = claims.claim(jobs.create(NewJob("evaluate", "team", {}))[0], 0)
    assert claim is not None
    with reading_only(database, postgresql_url):
        lose_lease(database, postgresql_url)
        time.sleep(away_s)
    time.sleep(1.0)
    assert claims.beat(claim, 1, 1, {}), sweeper.read_text()


def test_a_lost_claim_is_taken_back_all_the_same(
    jobs: JobStore, database: Database, postgresql_url: str, sweeper: Path
) -> None:
    job_id, _ = jobs.create(NewJob("evaluate", "team", {}))
    assert Claims(database, 2.0).claim(job_id, 0) is not None
    with reading_only(database, postgresql_url):
        time.sleep(2.5)
    wait_for(lambda: jobs.get(job_id, "team")["status"] == "queued")
