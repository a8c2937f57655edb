"""`make up`, `down`, `status`: one story of a platform that is started, stopped, hurt, and started again."""

import os
import shutil
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from deploy.embedded.ports import is_free
from tests.e2e.embedded_platform import EmbeddedPlatform, command_line, make_platform, remove_platform

pytestmark = pytest.mark.e2e

NAMES = {
    "redis", "s3", "gateway", "sweeper",
    "preprocess-api", "generator-api", "evaluator-api", "classifier-api",
    "preprocess-worker", "diffusion-train-worker", "diffusion-sample-worker", "evaluate-worker",
    "classifier-train-worker",
    *(f"preprocess-worker-{number}" for number in range(2, 1 + min(4, os.cpu_count() or 1))),
}  # fmt: skip


def wait_for(question: Callable[[], Any], patience_s: float = 90) -> Any:
    deadline = time.monotonic() + patience_s
    while not (answer := question()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)
    return answer


def is_ready(platform: EmbeddedPlatform) -> bool:
    try:
        return httpx.get(f"{platform.base_url}/readyz", timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def platform() -> Iterator[EmbeddedPlatform]:
    """A platform of these tests alone: they look at one that has not worked yet, kill its processes and stop it."""
    started = make_platform(SYNTHMRI_LEASE_S="6", SYNTHMRI_HEARTBEAT_S="1", SYNTHMRI_SWEEP_S="1")
    try:
        started.up()
        yield started
    finally:
        remove_platform(started)


@pytest.fixture
def fresh() -> Iterator[EmbeddedPlatform]:
    made = make_platform()
    yield made
    remove_platform(made)


def test_it_is_ready_with_all_its_processes(platform: EmbeddedPlatform) -> None:
    state = wait_for(lambda: (now := platform.status())["down"] == [] and now)
    assert state["running"]
    assert state["url"] == platform.base_url
    assert {process["name"] for process in state["processes"]} == NAMES
    assert all(process["pid"] and process["state"] == "running" for process in state["processes"])


def test_the_key_works_and_secrets_are_private(platform: EmbeddedPlatform) -> None:
    for name in ("api-key", "credentials.json", "run/redis.conf"):
        assert stat.S_IMODE((platform.data_dir / name).stat().st_mode) == 0o600
    with platform.client() as client:
        assert client.jobs()["items"] == []
    assert httpx.get(f"{platform.base_url}/jobs", timeout=60).status_code == 401


def test_no_secret_is_visible_in_the_process_list(platform: EmbeddedPlatform) -> None:
    credentials = (platform.data_dir / "credentials.json").read_text()
    secrets = [word for word in credentials.replace('"', " ").replace(",", " ").split() if len(word) >= 20]
    assert secrets
    for pid in platform.pids():
        words = b" ".join(command_line(pid)).decode(errors="replace")
        assert not [secret for secret in secrets if secret in words]


def test_apis_and_idle_workers_hold_no_deep_learning_library(platform: EmbeddedPlatform) -> None:
    """Seen from outside: none of their shared objects is mapped."""
    for process in platform.status()["processes"]:
        with open(f"/proc/{process['pid']}/maps") as file:
            maps = file.read()
        assert not [name for name in ("libtorch", "libtensorflow") if name in maps], process["name"]


def test_a_second_up_changes_nothing(platform: EmbeddedPlatform) -> None:
    before = platform.pid_of("supervisord")
    answer = platform.command("up")
    assert answer.returncode == 0
    assert answer.stdout == f"SynthMRI is already running at {platform.base_url}.\n"
    assert platform.pid_of("supervisord") == before


def test_a_taken_port_is_a_sentence_and_leaves_nothing(fresh: EmbeddedPlatform) -> None:
    with socket.create_server(("127.0.0.1", fresh.port)):
        answer = fresh.command("up")
    assert answer.returncode == 1
    assert answer.stderr == (
        f"Port {fresh.port} on 127.0.0.1 is taken by another program; choose another one: export SYNTHMRI_PORT=8080.\n"
    )
    assert fresh.pids() == set()


def test_a_folder_that_cannot_be_used_is_a_sentence_and_leaves_nothing(fresh: EmbeddedPlatform) -> None:
    shutil.rmtree(fresh.data_dir)
    fresh.data_dir.write_text("a file in the way")
    answer = fresh.command("up")
    fresh.data_dir.unlink()
    assert answer.returncode == 1
    assert answer.stderr.startswith(f"Cannot write in the data folder {fresh.data_dir}: ")
    assert answer.stderr.count("\n") == 1
    assert fresh.pids() == set()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("SYNTHMRI_LEASE_S", "long", "SYNTHMRI_LEASE_S: Input should be a valid number"),
        ("SYNTHMRI_DATABASE_URL", "sqlite:////proc/no/such.db", "The database does not answer"),
    ],
)
def test_a_wrong_setting_is_a_sentence_and_leaves_nothing(
    fresh: EmbeddedPlatform, name: str, value: str, sentence: str
) -> None:
    answer = fresh.command("up", **{name: value})
    assert answer.returncode == 1
    assert sentence in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert fresh.pids() == set()


@pytest.mark.slow
def test_a_process_that_keeps_dying_is_named_with_its_log_and_nothing_is_left(fresh: EmbeddedPlatform) -> None:
    (fresh.data_dir / "redis").mkdir()
    (fresh.data_dir / "redis" / "appendonly.aof").write_text("this is no append-only file")
    answer = fresh.command("up")
    assert answer.returncode == 1
    assert answer.stderr.startswith("The process redis keeps dying.")
    assert "Bad file format reading the append only file" in answer.stderr
    assert fresh.pids() == set()


@pytest.mark.slow
def test_every_killed_process_comes_back_by_itself(platform: EmbeddedPlatform) -> None:
    before = {process["name"]: process["pid"] for process in platform.status()["processes"]}
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)

    def all_new() -> bool:
        after = {process["name"]: process["pid"] for process in platform.status()["processes"]}
        return all(after.get(name) and after[name] != pid for name, pid in before.items())

    wait_for(all_new)
    wait_for(lambda: is_ready(platform))
    with platform.client() as client:
        assert client.jobs()["items"] == []


@pytest.mark.slow
def test_killing_supervisord_leaves_nothing_and_up_repairs_it(platform: EmbeddedPlatform) -> None:
    os.kill(platform.pid_of("supervisord"), signal.SIGKILL)
    wait_for(lambda: not platform.pids(), patience_s=30)
    assert not platform.status()["running"]
    assert "is ready at" in platform.up()
    wait_for(lambda: is_ready(platform))


@pytest.mark.slow
def test_down_leaves_no_process_and_frees_the_ports_and_data_survive(platform: EmbeddedPlatform) -> None:
    key, credentials = platform.api_key, (platform.data_dir / "credentials.json").read_bytes()
    blob = platform.data_dir / "s3" / "synthmri" / "kept"
    blob.write_bytes(b"an object")
    platform.down()
    assert platform.pids() == set()
    assert is_free("127.0.0.1", platform.port)
    said = platform.up()
    assert f"SynthMRI is ready at {platform.base_url} (API key in " in said
    assert platform.api_key == key
    assert (platform.data_dir / "credentials.json").read_bytes() == credentials
    assert blob.read_bytes() == b"an object"
    with platform.client() as client:
        assert client.jobs()["items"] == []
    blob.unlink()
