"""Waiting until the platform answers, and noticing early when it never will."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from deploy.embedded.console import CannotStart, say
from deploy.embedded.folder import DataFolder
from deploy.embedded.plan import Plan
from deploy.embedded.supervision import ProcessState, read_processes

# Ten times what an idle machine needs, for a first start without compiled bytecode on a busy one.
READY_WAIT_S = 120.0
POLL_S = 0.2
MOST_RESTARTS = 2
LOG_LINES_SHOWN = 15

# The platform is on this machine: a proxy that http_proxy names cannot reach it.
LOCAL: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def await_ready(plan: Plan, patience_s: float = READY_WAIT_S) -> None:
    """Return when GET /readyz answers 200; say what is still down whenever that changes.

    Raises:
        CannotStart: a process keeps dying (with the end of its log), or `patience_s` seconds are over.
    """
    watch = RestartWatch(plan.folder)
    deadline = time.monotonic() + patience_s
    said = ""
    while True:
        down = what_is_down(plan.url)
        if not down:
            return
        watch.check()
        if time.monotonic() > deadline:
            raise CannotStart(
                f"Not ready after {patience_s:.0f} s: {', '.join(down)} did not answer. "
                f"The logs are in {plan.folder.logs}."
            )
        waiting = ", ".join(down)
        if waiting != said:
            say(f"  waiting for {waiting}")
            said = waiting
        time.sleep(POLL_S)


def what_is_down(url: str, timeout_s: float = 5.0) -> list[str]:
    """The parts of the platform that do not answer, by name; empty when it is ready."""
    try:
        with LOCAL.open(f"{url}/readyz", timeout=timeout_s):
            return []
    except urllib.error.HTTPError as error:
        with error:
            return _names_in(error.read())
    except OSError:
        return ["gateway"]


class RestartWatch:
    """Counts the restarts of each process while the platform starts.

    Args:
        folder: whose processes are watched.
        read: where the states come from.
    """

    def __init__(self, folder: DataFolder, read: Callable[[DataFolder], list[ProcessState]] = read_processes) -> None:
        self._folder = folder
        self._read = read
        self._starts: dict[str, set[float]] = {}

    def check(self) -> None:
        """Look once.

        Raises:
            CannotStart: supervisord is gone, or a process was restarted more than `MOST_RESTARTS` times.
        """
        if not self._folder.is_running():
            raise CannotStart(f"Supervisord ended: {tail(self._folder.logs / 'supervisord-start.log')}")
        for process in self._read(self._folder):
            starts = self._starts.setdefault(process.name, set())
            if process.started_at:
                starts.add(process.started_at)
            if len(starts) > MOST_RESTARTS + 1:
                log = self._folder.logs / f"{process.name}.log"
                raise CannotStart(f"The process {process.name} keeps dying. The end of {log}:\n{tail(log)}")


def tail(path: Path, n_lines: int = LOG_LINES_SHOWN) -> str:
    """The last lines of a text file, indented; a sentence when there is none."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    return "\n".join(f"    {line}" for line in lines[-n_lines:]) or "    (it is empty)"


def _names_in(body: bytes) -> list[str]:
    """The names under `down` in the body of a 503 of /readyz."""
    try:
        answer: Any = json.loads(body)
    except ValueError:
        return ["gateway"]
    down = answer.get("down") if isinstance(answer, dict) else None
    return sorted(str(name) for name in down) if down else ["gateway"]
