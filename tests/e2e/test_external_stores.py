"""The same processes on PostgreSQL, Redis and S3 servers of somebody else, and what users see when one is down."""

import io
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psycopg
import pytest
from PIL import Image

from deploy.embedded.phantoms import write_phantoms
from tests.e2e.embedded_platform import EmbeddedPlatform, made, make_platform, remove_platform
from tests.support import servers

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]


def picture() -> bytes:
    """A PNG of noise."""
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(out, "PNG")
    return out.getvalue()


@dataclass(frozen=True)
class Stores:
    """The servers that the platform is pointed at."""

    postgresql: servers.Server
    redis: servers.Server
    s3: servers.Server


@pytest.fixture(scope="module")
def stores(server_dir: Path) -> Iterator[Stores]:
    with (
        servers.running(servers.postgresql_server(server_dir / "pg-external")) as postgresql,
        servers.running(servers.redis_server(server_dir / "redis-external")) as redis,
        servers.running(servers.s3_server(server_dir / "s3-external")) as s3,
    ):
        yield Stores(postgresql, redis, s3)


@pytest.fixture(scope="module")
def outside(stores: Stores) -> Iterator[EmbeddedPlatform]:
    """A platform that starts none of the three itself."""
    server = f"postgresql://postgres@127.0.0.1:{stores.postgresql.port}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE synthmri")
    started = make_platform(
        SYNTHMRI_DATABASE_URL=f"{server.replace('postgresql', 'postgresql+psycopg')}/synthmri",
        SYNTHMRI_REDIS_URL=f"redis://127.0.0.1:{stores.redis.port}/0",
        SYNTHMRI_S3_ENDPOINT=f"127.0.0.1:{stores.s3.port}",
        SYNTHMRI_S3_ACCESS_KEY=servers.S3_ACCESS_KEY,
        SYNTHMRI_S3_SECRET_KEY=servers.S3_SECRET_KEY,
        SYNTHMRI_S3_BUCKET="outside",
        SYNTHMRI_SWEEP_S="1",
    )
    try:
        started.up()
        yield started
    finally:
        remove_platform(started)


@pytest.fixture(scope="module")
def raw(outside: EmbeddedPlatform, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, n_training=3, n_testing=1, seed=2)
    with outside.client() as client:
        return str(client.upload(folder)["id"])


def test_the_platform_starts_none_of_the_three_and_works(outside: EmbeddedPlatform, raw: str) -> None:
    names = {process["name"] for process in outside.status()["processes"]}
    assert not names & {"redis", "s3"}
    with outside.client() as client:
        assert made(client.wait(client.preprocess(raw)["id"]), "image_set")


@pytest.mark.parametrize(
    ("store", "named", "code"),
    [
        ("postgresql", "database", "database_unavailable"),
        ("redis", "redis", "queue_unavailable"),
        ("s3", "object store", "storage_unavailable"),
    ],
)
def test_a_store_that_is_down_is_named_and_its_return_mends_everything(
    outside: EmbeddedPlatform, stores: Stores, raw: str, store: str, named: str, code: str
) -> None:
    server: servers.Server = getattr(stores, store)
    headers = {"Authorization": f"Bearer {outside.api_key}"}
    with httpx.Client(base_url=outside.base_url, headers=headers, timeout=60) as http:
        jobs_before = len(http.get("/jobs?limit=200").json()["items"])
        server.stop(signal.SIGQUIT if store == "postgresql" else signal.SIGKILL)
        try:
            began = time.monotonic()
            upload = {"file": ("glioma/a.png", picture(), "image/png")}
            answer = http.post("/image-sets?name=down", files=upload)
            seconds = time.monotonic() - began
            health = http.get("/readyz")
        finally:
            server.start()
        assert answer.status_code == 503, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == code
        assert seconds < 15
        assert health.status_code == 503
        assert named in health.text
        assert not list((outside.data_dir / "tmp").glob("**/*.png"))
        deadline = time.monotonic() + 60
        while http.get("/readyz").status_code != 200:
            assert time.monotonic() < deadline, http.get("/readyz").text
            time.sleep(0.5)
        assert len(http.get("/jobs?limit=200").json()["items"]) == jobs_before
        assert [item["name"] for item in http.get("/image-sets").json()["items"]].count("down") == 0
    with outside.client() as client:
        assert made(client.wait(client.preprocess(raw)["id"]), "image_set")
