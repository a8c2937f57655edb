"""Supervisord: its configuration, its start, its stop, and what it knows of its children."""

import contextlib
import http.client
import os
import shlex
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

from supervisor.xmlrpc import SupervisorTransport

from deploy.embedded import child
from deploy.embedded.console import CannotStart
from deploy.embedded.folder import DataFolder
from deploy.embedded.processes import PROJECT, Process

STOP_WAIT_S = 60.0


@dataclass(frozen=True)
class ProcessState:
    """What supervisord says about one child.

    Attributes:
        pid: 0 when it is not running.
        started_at: epoch seconds of the last start.
    """

    name: str
    state: str
    pid: int
    started_at: float


def supervisor_configuration(folder: DataFolder, processes: Sequence[Process]) -> str:
    """The text of supervisord.conf: no TCP port, a private socket, every process restarted whatever ended it."""
    socket = _value(str(folder.socket))
    sections = [
        ("unix_http_server", {"file": socket, "chmod": "0700"}),
        ("supervisord", _own_section(folder)),
        (
            "rpcinterface:supervisor",
            {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
        ),
        *((f"program:{process.name}", _program_section(folder, process)) for process in processes),
        *_group_sections(processes),
    ]
    return "\n".join(
        f"[{name}]\n" + "".join(f"{option}={value}\n" for option, value in options.items())
        for name, options in sections
    )


def launch(folder: DataFolder, configuration: Path, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start supervisord apart from this terminal; it inherits the platform lock and holds it while it lives."""
    folder.pid_file.unlink(missing_ok=True)
    with folder.platform_lock() as lock, (folder.logs / "supervisord-start.log").open("wb") as output:
        return subprocess.Popen(  # noqa: S603 our own command line
            [sys.executable, "-m", "deploy.embedded.supervise", "-c", str(configuration)],
            cwd=PROJECT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(lock.fileno(),),
        )


def stop(folder: DataFolder) -> None:
    """End supervisord and all its children; return when they are gone.

    SIGTERM makes supervisord stop the platform, then the storage, each child with SIGTERM and its own patience.

    Raises:
        CannotStart: they are still there after a SIGKILL.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        pid = folder.supervisor_pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if _wait_until_stopped(folder, STOP_WAIT_S):
            return
    raise CannotStart(f"The processes of {folder.root} do not end; see {folder.logs / 'supervisord.log'}.")


def read_processes(folder: DataFolder) -> list[ProcessState]:
    """All children in the order of the configuration; empty while supervisord does not answer."""
    server = xmlrpc.client.ServerProxy(
        "http://localhost", transport=SupervisorTransport(None, None, f"unix://{folder.socket}")
    )
    try:
        answer: Any = server.supervisor.getAllProcessInfo()
    except (OSError, xmlrpc.client.Error, http.client.HTTPException, ExpatError):  # the last two: half an answer
        return []
    finally:
        server("close")()
    return [
        ProcessState(str(row["name"]), str(row["statename"]), int(row["pid"]), float(row["start"])) for row in answer
    ]


def _own_section(folder: DataFolder) -> dict[str, str]:
    section = {
        "logfile": _value(str(folder.logs / "supervisord.log")),
        "logfile_maxbytes": "5MB",
        "logfile_backups": "2",
        "pidfile": _value(str(folder.pid_file)),
        "identifier": "synthmri",
        "nodaemon": "true",
        "silent": "true",
        "nocleanup": "true",
        "umask": "077",
    }
    # Supervisord warns root unless it is told that root is meant.
    return {**section, "user": "root"} if os.geteuid() == 0 else section


def _program_section(folder: DataFolder, process: Process) -> dict[str, str]:
    wrapper = (sys.executable, "-I", "-S", str(Path(child.__file__).resolve()), str(folder.run), process.name)
    return {
        "command": " ".join(_value(shlex.quote(word)) for word in (*wrapper, *process.command)),
        "directory": _value(str(PROJECT)),
        "autostart": "true",
        "autorestart": "true",
        # Restart for ever; the pause between restarts is child.py's.
        "startsecs": "0",
        "stopsignal": "TERM",
        "stopwaitsecs": str(process.stop_wait_s),
        "killasgroup": "true",
        "redirect_stderr": "true",
        # Supervisord expands the names of log files twice (options.py, processes_from_section).
        "stdout_logfile": _value(_value(str(folder.logs / f"{process.name}.log"))),
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": "3",
    }


def _group_sections(processes: Sequence[Process]) -> list[tuple[str, dict[str, str]]]:
    """One group per stage: supervisord stops the groups one after the other, all processes of a group at once."""
    stages = list(dict.fromkeys(process.stage for process in processes))
    return [
        (
            f"group:{stage}",
            {
                "programs": ",".join(process.name for process in processes if process.stage == stage),
                "priority": str(1 if stage == "storage" else 2),
            },
        )
        for stage in stages
    ]


def _value(text: str) -> str:
    """`text` as a value of supervisord's ini dialect, where % expands and a blank before ; or # starts a comment."""
    if any(bad in text for bad in ("\n", "\r", " ;", " #", "\t;", "\t#")):
        raise CannotStart(f"The path {text!r} cannot be used: it holds a line break, or a blank before ; or #.")
    return text.replace("%", "%%")


def _wait_until_stopped(folder: DataFolder, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while folder.is_running():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
