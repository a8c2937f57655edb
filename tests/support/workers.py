"""Worker processes for tests."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


@contextmanager
def worker(
    log: Path, app: str = "tests.support.worker_tasks", queue: str = "preprocess"
) -> Iterator[subprocess.Popen[bytes]]:
    """A Celery worker of `app` on `queue`, killed at the end; settings come from the environment."""
    options = ["worker", "-P", "solo", "-Q", queue, "--without-gossip", "--without-mingle", "--without-heartbeat"]
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", app, *options], cwd=ROOT, stdout=out, stderr=out
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Return when `condition()` is true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s} s in vain")
        time.sleep(0.05)
