"""Fixtures: real Redis, S3, SQLite and PostgreSQL, started once a session; the data set, if it is there."""

import contextlib
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

# Idle OpenMP threads spin by default, which starves every other process of a small machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# TensorFlow and Triton (which torchvision imports) each bring an LLVM; loading Triton's second ends the process. No
# process of the platform loads both, but this one does.
with contextlib.suppress(ImportError):
    import triton  # noqa: F401

from shared.artifacts.store import ArtifactStore, get_artifacts
from shared.database import Database, get_database
from shared.jobs.progress import go_on_working
from shared.jobs.store import JobStore
from shared.objects import ObjectStore, get_objects
from shared.queue import get_celery, get_redis
from shared.settings import Settings, get_settings
from tests.support import servers

_skipped: list[str] = []
DATA = Path(os.environ.get("SYNTHMRI_TEST_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")).resolve()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with `brain-tumor-mri`, `ddpm-study-2400` and `study-preprocessed-sample`; skips if absent."""
    if not (DATA / "brain-tumor-mri" / "Training").is_dir():
        if os.environ.get("REQUIRE_DATA") == "1":
            pytest.fail(f"REQUIRE_DATA=1, but there is no data set at {DATA}")
        pytest.skip(f"no data set at {DATA}; set SYNTHMRI_TEST_DATA")
    return DATA


@pytest.fixture(scope="session")
def server_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="synthmri-tests-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL runs as another user
        yield Path(folder)


@pytest.fixture(scope="session")
def redis_server(server_dir: Path) -> Iterator[servers.Server]:
    with servers.running(servers.redis_server(server_dir / "redis")) as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(server_dir: Path) -> Iterator[servers.Server]:
    with servers.running(servers.s3_server(server_dir / "s3")) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_url(server_dir: Path) -> Iterator[str]:
    with servers.running(servers.postgresql_server(server_dir / "pg")) as server:
        yield f"postgresql://postgres@127.0.0.1:{server.port}"


@pytest.fixture(scope="session")
def redis_url(redis_server: servers.Server) -> str:
    return f"redis://127.0.0.1:{redis_server.port}/0"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh database with all tables, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'synthmri.db'}"
        return
    server = request.getfixturevalue("postgresql_url")
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield f"{server.replace('postgresql://', 'postgresql+psycopg://')}/{name}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def settings(
    database_url: str,
    redis_url: str,
    s3_server: servers.Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Settings]:
    """Settings of real servers; every cached client of this process is made anew from them."""
    values = {
        "ENVIRONMENT": "development",
        "DATA_DIR": str(tmp_path / "data"),
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "S3_ENDPOINT": f"127.0.0.1:{s3_server.port}",
        "S3_ACCESS_KEY": servers.S3_ACCESS_KEY,
        "S3_SECRET_KEY": servers.S3_SECRET_KEY,
        "S3_BUCKET": f"test-{uuid.uuid4().hex[:12]}",
        "LEASE_S": "2",
        "HEARTBEAT_S": "0.5",
        "SWEEP_S": "0.2",
        "INTERNAL_TOKEN": "tests-internal-token",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"SYNTHMRI_{name}", value)
    _forget_clients()
    (tmp_path / "data").mkdir()
    yield get_settings()
    get_redis().flushdb()
    get_database().close()
    _forget_clients()
    go_on_working()


def _forget_clients() -> None:
    for cached in (get_settings, get_database, get_objects, get_artifacts, get_celery, get_redis):
        cached.cache_clear()


@pytest.fixture
def database(settings: Settings) -> Database:
    database = get_database()
    database.migrate()
    return database


@pytest.fixture
def objects(settings: Settings) -> ObjectStore:
    store = get_objects()
    store.ensure_bucket()
    return store


@pytest.fixture
def artifacts(database: Database, objects: ObjectStore) -> ArtifactStore:
    return get_artifacts()


@pytest.fixture
def jobs(database: Database) -> JobStore:
    return JobStore(database)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember skipped tests; without a GPU only those marked gpu may be skipped when REQUIRE_DATA=1."""
    if report.skipped and not hasattr(report, "wasxfail") and "gpu" not in report.keywords:
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With REQUIRE_DATA=1, as CI sets it, a skipped test is a failure."""
    if os.environ.get("REQUIRE_DATA") == "1" and _skipped:
        print(f"\nREQUIRE_DATA=1, but these tests were skipped: {', '.join(_skipped)}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
