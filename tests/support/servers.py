"""Real servers for tests, on free loopback ports, ended by the process that started them."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import redis

from deploy.embedded.ports import choose_free_port

S3_ACCESS_KEY, S3_SECRET_KEY = "tests-access-key", "tests-secret-key-0123456789"


def free_port() -> int:
    """A loopback port that nobody listens on, and that no outgoing connection is given while its server is away."""
    return choose_free_port(set())


def program(name: str) -> str:
    """The path of a program: beside this interpreter (wheels bring some), else on the PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise FileNotFoundError(f"{name} is not installed; install the extras `embedded` and `dev`")
    return found


def wait_until(ready: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Return when `ready()` is true; connection errors count as not ready."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if ready():
                return
        except (OSError, redis.RedisError, psycopg.Error):
            pass
        if time.monotonic() > deadline:
            raise TimeoutError("the server did not become ready")
        time.sleep(0.05)


def port_answers(port: int) -> bool:
    """Whether something accepts connections on this loopback port."""
    with socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return True


class Server:
    """A server that a test may kill and start again at the same port with the same data."""

    def __init__(
        self,
        command: list[str],
        port: int,
        log: Path,
        env: dict[str, str] | None = None,
        answers: Callable[[], bool] | None = None,
    ) -> None:
        self.command, self.port, self.log = command, port, log
        self.answers = answers or (lambda: port_answers(port))
        self.env = {**os.environ, **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd="/", env=self.env, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self.answers)

    def stop(self, sign: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(sign)
            self.process.wait(timeout=60)
            self.process = None


@contextmanager
def running(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        server.stop(signal.SIGKILL)


def redis_server(folder: Path) -> Server:
    """Redis with an append-only file, as the platform runs it."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    options = ["--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction", "--dir", str(folder)]
    command = [program("redis-server"), "--port", str(port), "--bind", "127.0.0.1", *options]
    return Server(command, port, folder / "redis.log")


def s3_server(folder: Path) -> Server:
    """An S3 server over a folder."""
    (folder / "s3").mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [program("rclone"), "serve", "s3", str(folder / "s3"), "--addr", f"127.0.0.1:{port}"]
    env = {"RCLONE_AUTH_KEY": f'"{S3_ACCESS_KEY},{S3_SECRET_KEY}"', "RCLONE_CONFIG": str(folder / "rclone.conf")}
    return Server([*command, "--vfs-cache-mode", "off", "--no-cleanup"], port, folder / "s3.log", env)


def postgresql_server(folder: Path) -> Server:
    """A fresh PostgreSQL cluster, user `postgres`, no password; it refuses root, so root steps down to that user."""
    binaries = _postgresql_binaries()
    data, port = folder / "postgresql", free_port()
    data.mkdir(parents=True)
    step_down: list[str] = []
    if os.geteuid() == 0:
        folder.chmod(0o711)
        shutil.chown(data, "postgres", "postgres")
        step_down = [program("setpriv"), "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
    init = [*step_down, str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "--auth", "trust", "-E", "UTF8"]
    subprocess.run(init, check=True, capture_output=True, cwd="/")
    options = ["-c", f"port={port}", "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={data}"]
    command = [*step_down, str(binaries / "postgres"), "-D", str(data), *options]

    def answers() -> bool:
        psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres").close()
        return True

    return Server(command, port, folder / "postgresql.log", answers=answers)


def _postgresql_binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(shutil.which("initdb") or "initdb")]
    if not found[-1].exists():
        raise FileNotFoundError("PostgreSQL is not installed; install Debian's package `postgresql`")
    return found[-1].parent
