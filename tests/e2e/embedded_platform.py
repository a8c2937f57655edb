"""One embedded platform of the tests: where it is, and the commands a person would type."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.embedded.folder import DataFolder
from deploy.embedded.ports import choose_free_port
from shared.client import SynthMRI
from tests.support.workers import wait_for

PROJECT = Path(__file__).resolve().parents[2]
COMMAND_S = 180


@dataclass(frozen=True)
class EmbeddedPlatform:
    """One platform of the tests: where it is, and the commands a person would type.

    Attributes:
        settings: its own environment variables, on top of those of the test run.
    """

    data_dir: Path
    port: int
    settings: Mapping[str, str]

    @property
    def base_url(self) -> str:
        """The gateway's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_key(self) -> str:
        """The key written at the first start: scopes read, write, admin."""
        return (self.data_dir / "api-key").read_text().strip()

    @property
    def environ(self) -> dict[str, str]:
        """The environment in which its commands run; no SYNTHMRI_* variable of the test run leaks in."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SYNTHMRI_")}
        ours = {"SYNTHMRI_DATA_DIR": str(self.data_dir), "SYNTHMRI_PORT": str(self.port)}
        return {**inherited, **ours, **self.settings}

    def command(self, *words: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run `python -m deploy.embedded <words>` with further environment variables."""
        return subprocess.run(
            [sys.executable, "-m", "deploy.embedded", *words],
            cwd=PROJECT,
            env={**self.environ, **settings},
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )

    def up(self, **settings: str) -> str:
        """Start it and return what the command said."""
        answer = self.command("up", **settings)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout

    def down(self) -> None:
        """Stop it."""
        answer = self.command("down")
        assert answer.returncode == 0, answer.stdout + answer.stderr

    def status(self) -> dict[str, Any]:
        """`status --json`."""
        state: dict[str, Any] = json.loads(self.command("status", "--json").stdout)
        return state

    def pid_of(self, name: str) -> int:
        """The pid of one process, for example `diffusion-sample-worker`; 0 while it is being restarted."""
        if name == "supervisord":
            return DataFolder(self.data_dir).supervisor_pid() or 0
        pids = {process["name"]: process["pid"] or 0 for process in self.status()["processes"]}
        return int(pids.get(name, 0))

    def pids(self) -> set[int]:
        """Every living process that was started with this data folder, whoever its parent is now."""
        mark = f"SYNTHMRI_DATA_DIR={self.data_dir}\0".encode()
        return {pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if _holds(pid, mark)}

    def log(self, name: str) -> str:
        """What one process has written."""
        return (self.data_dir / "logs" / f"{name}.log").read_text(errors="replace")

    def keys(self, *words: str) -> str:
        """What `synthmri keys` prints."""
        command = [sys.executable, "-m", "gateway.cli", "keys", *words]
        return subprocess.run(
            command, cwd=PROJECT, env=self.environ, capture_output=True, text=True, timeout=COMMAND_S, check=True
        ).stdout

    def client(self) -> SynthMRI:
        """The platform seen with its first API key; close it."""
        return SynthMRI(self.base_url, self.api_key)


def make_platform(**settings: str) -> EmbeddedPlatform:
    """A platform that has never been started, in a short-lived folder and on a free port."""
    return EmbeddedPlatform(Path(tempfile.mkdtemp(prefix="synthmri-e2e-")), choose_free_port(set()), settings)


def remove_platform(platform: EmbeddedPlatform) -> None:
    """Stop it and delete its data."""
    platform.command("down")
    shutil.rmtree(platform.data_dir, ignore_errors=True)


def made(job: dict[str, Any], noun: str) -> str:
    """The id of the one artifact of this noun that a job made."""
    (artifact_id,) = [item["id"] for item in job["artifacts"] if item["noun"] == noun]
    return str(artifact_id)


def under_way(client: SynthMRI, start: Callable[[], str], least_done: int = 1, pause_s: float = 0.0) -> str:
    """The id of a job that has done some of its work, and not all of it, `pause_s` seconds after `least_done` units.

    A job that ended while the machine kept this process waiting is followed by another.
    """
    for _ in range(3):
        job_id = start()
        wait_for(lambda: client.job(job_id)["progress"]["done"] >= least_done, timeout_s=120)  # noqa: B023
        time.sleep(pause_s)
        if client.job(job_id)["status"] == "running":
            return job_id
    raise AssertionError("each job had ended before it was seen at work")


def command_line(pid: int) -> list[bytes]:
    """The words of a process; none once it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _holds(pid: int, mark: bytes) -> bool:
    """Whether the process of this pid lives and has `mark` in its environment."""
    try:
        return pid != os.getpid() and mark in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
