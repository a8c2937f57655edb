"""The database: SQLAlchemy 2 over PostgreSQL, or over SQLite when everything runs on one machine.

The row is the truth about every job, so a commit must last: SQLite runs in WAL mode with synchronous=FULL, PostgreSQL
keeps its default synchronous_commit. Writers begin with BEGIN IMMEDIATE on SQLite, because a deferred transaction that
reads and then writes fails with a busy snapshot whatever the timeout is (https://www.sqlite.org/isolation.html).
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, CursorResult, Engine, Executable, create_engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Float

from shared.errors import DatabaseUnavailable, StorageFull
from shared.settings import Settings, get_settings

MIGRATIONS = Path(__file__).parent / "migrations"
_NOTICE_SILENCE = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""libpq's settings, seconds and, the last, milliseconds: a failover that drops packets ends connections, idle ones and
those that wait for an answer, after 25 s at most; the kernel alone goes on sending for a quarter of an hour."""


class Base(DeclarativeBase):
    """The declarative base of every table; migrations see all of them through it."""


class now_s(FunctionElement[float]):  # noqa: N801 it is used like an SQL function
    """The database's own clock as seconds since 1970, so that no two hosts' clocks are ever compared."""

    type = Float()
    inherit_cache = True


@compiles(now_s, "postgresql")
def _now_postgresql(*_: Any, **__: Any) -> str:
    # clock_timestamp() moves inside a transaction, now() does not.
    return "extract(epoch from clock_timestamp())::float8"


@compiles(now_s, "sqlite")
def _now_sqlite(*_: Any, **__: Any) -> str:
    # Julian day of 1970-01-01T00:00Z is 2440587.5 (https://www.sqlite.org/lang_datefunc.html); resolution 1 ms.
    return "((julianday('now') - 2440587.5) * 86400.0)"


class Database:
    """One engine, two kinds of transaction.

    Args:
        url: an SQLAlchemy URL, `sqlite:///path` or `postgresql+psycopg://...`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _make_engine(url)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session for queries; the rows it loads stay readable after the block, changes are thrown away."""
        with _translated(), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session that commits at the end of the block; an exception inside leaves no trace."""
        with _translated(), Session(self.engine, expire_on_commit=False) as session:
            if self.engine.dialect.name == "sqlite":
                session.connection(execution_options={"writes": True})
            yield session
            session.commit()

    def ping(self) -> None:
        """Return when the database answers and has its tables, raise `DatabaseUnavailable` otherwise."""
        with self.reading() as session:
            session.execute(text("SELECT 1 FROM jobs LIMIT 1"))

    def migrate(self) -> None:
        """Bring the tables to the newest version."""
        from alembic import command  # half a second of imports that only a migration needs
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with _translated(), self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def rows_changed(session: Session, statement: Executable) -> int:
    """Execute an UPDATE or DELETE; how many rows it changed."""
    result = session.execute(statement, execution_options={"synchronize_session": False})
    return cast("CursorResult[Any]", result).rowcount


def _make_engine(url: str) -> Engine:
    if url.startswith("sqlite"):
        engine = create_engine(url, connect_args={"timeout": 10.0, "check_same_thread": False})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    options = "-c statement_timeout=20000 -c lock_timeout=10000 -c idle_in_transaction_session_timeout=30000"
    return create_engine(
        url,
        pool_pre_ping=True,
        connect_args={"options": options, "connect_timeout": 3, **_NOTICE_SILENCE},
        pool_size=10,
        max_overflow=20,
        pool_timeout=5,
    )


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    """Turn lost connections and a server that only reads into `DatabaseUnavailable`, a full disk into `StorageFull`."""
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseUnavailable("The database is too busy to answer; try again in a moment.") from error
    except OperationalError as error:
        # SQLite says "database or disk is full"; PostgreSQL's state 53100 is disk_full.
        if "full" in str(error.orig).lower() or getattr(error.orig, "sqlstate", None) == "53100":
            raise StorageFull("The disk that holds the database is full; free some space and try again.") from error
        raise DatabaseUnavailable("The database does not answer; try again in a moment.") from error
    except DBAPIError as error:
        # PostgreSQL's state 25006 is read_only_sql_transaction: a standby, or a server whose disk is nearly full.
        if getattr(error.orig, "sqlstate", None) == "25006":
            raise DatabaseUnavailable("The database takes no changes at the moment; try again later.") from error
        if error.connection_invalidated:
            raise DatabaseUnavailable("The connection to the database was lost; try again in a moment.") from error
        raise


@lru_cache
def get_database() -> Database:
    """The database of this process; it connects at its first use."""
    return Database(get_settings().database_url)


def migrate(settings: Settings) -> None:
    """Bring the database of `settings` to the newest version of the tables."""
    database = Database(settings.database_url)
    try:
        database.migrate()
    finally:
        database.close()
