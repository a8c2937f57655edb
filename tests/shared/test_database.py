"""The database: how it is connected to."""

import os
import socket
import time

import pytest
from sqlalchemy import text

from shared.database import Database
from shared.errors import DatabaseUnavailable
from shared.jobs.claims import Claims
from shared.jobs.store import JobStore, NewJob

ON_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.mark.services
@ON_POSTGRESQL
def test_a_connection_whose_packets_are_dropped_ends_within_seconds(database_url: str) -> None:
    """Dropped packets need a firewall; what libpq and the kernel were told does not."""
    database = Database(database_url)
    with database.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        told = driver.info.get_parameters()
        with socket.socket(fileno=os.dup(driver.fileno())) as copy:
            options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
            set_to = [copy.getsockopt(socket.IPPROTO_TCP, option) for option in options]
    database.close()
    names = ("keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout")
    assert [told[name] for name in names] == ["10", "5", "3", "15000"]
    assert set_to == [10, 5, 3, 15_000]


def set_for_new_connections(database: Database, setting: str, value: str) -> None:
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        name = connection.execute(text("SELECT current_database()")).scalar_one()
        connection.execute(text("SET default_transaction_read_only = off"))
        connection.execute(text(f'ALTER DATABASE "{name}" SET {setting} = {value}'))
    database.engine.dispose()


@pytest.mark.services
@ON_POSTGRESQL
def test_a_database_that_only_reads_is_unavailable_to_writers(database: Database, jobs: JobStore) -> None:
    """As a standby is after a failover, and as some hosts make a server whose disk is nearly full."""
    job_id, _ = jobs.create(NewJob("evaluate", "team", {}))
    set_for_new_connections(database, "default_transaction_read_only", "on")
    with pytest.raises(DatabaseUnavailable, match="takes no changes"):
        Claims(database, 30.0).claim(job_id, 0)
    assert jobs.get(job_id, "team")["status"] == "queued"
    set_for_new_connections(database, "default_transaction_read_only", "off")
    assert Claims(database, 30.0).claim(job_id, 0) is not None


@pytest.mark.services
@ON_POSTGRESQL
def test_a_transaction_that_was_idle_for_too_long_is_a_lost_connection(database: Database) -> None:
    """As when the process was stopped for a while in the middle of one."""

    def stand_still() -> None:
        with database.writing() as session:
            session.execute(text("SET idle_in_transaction_session_timeout = 100"))
            time.sleep(0.5)
            session.execute(text("SELECT 1"))

    with pytest.raises(DatabaseUnavailable):
        stand_still()
    database.ping()
