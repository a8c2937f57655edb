import configparser
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.console import CannotStart
from deploy.embedded.folder import DataFolder
from deploy.embedded.processes import Process
from deploy.embedded.supervision import ProcessState, launch, read_processes, stop, supervisor_configuration

SLEEP = (sys.executable, "-c", "import time; time.sleep(600)")


def start(folder: DataFolder, *processes: Process) -> "subprocess.Popen[bytes]":
    configuration = folder.run / "supervisord.conf"
    configuration.write_text(supervisor_configuration(folder, processes))
    return launch(folder, configuration, os.environ)


def wait_for(question: Callable[[], Any], patience_s: float = 60) -> Any:
    deadline = time.monotonic() + patience_s
    while not (answer := question()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
    return answer


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def running(folder: DataFolder) -> dict[str, ProcessState]:
    states = {state.name: state for state in read_processes(folder)}
    return states if states and all(state.pid for state in states.values()) else {}


def test_a_killed_process_comes_back_and_a_stop_leaves_nothing(folder: DataFolder) -> None:
    supervisor = start(folder, Process("one", SLEEP), Process("two", SLEEP, stage="storage"))
    before = wait_for(lambda: running(folder))
    os.kill(before["one"].pid, signal.SIGKILL)
    after = wait_for(lambda: (now := running(folder)) and now["one"].pid != before["one"].pid and now)
    assert after["two"].pid == before["two"].pid
    stop(folder)
    supervisor.wait()
    assert not folder.is_running()
    assert not any(is_alive(state.pid) for state in (*before.values(), *after.values()))


def test_children_die_with_a_killed_supervisord_and_it_can_be_started_again(folder: DataFolder) -> None:
    supervisor = start(folder, Process("one", SLEEP))
    before = wait_for(lambda: running(folder))
    wait_for(lambda: "time.sleep" in Path(f"/proc/{before['one'].pid}/cmdline").read_text())
    supervisor.kill()
    supervisor.wait()
    wait_for(lambda: not is_alive(before["one"].pid))
    assert not folder.is_running()
    again = start(folder, Process("one", SLEEP))
    assert wait_for(lambda: running(folder))["one"].pid != before["one"].pid
    stop(folder)
    again.wait()


def test_a_process_that_dies_at_once_is_tried_again_and_again(folder: DataFolder) -> None:
    supervisor = start(folder, Process("brief", (sys.executable, "-c", "print('tried')")))
    log = folder.logs / "brief.log"
    wait_for(lambda: log.exists() and log.read_text().count("tried") >= 3)
    stop(folder)
    supervisor.wait()


def test_a_missing_program_is_named_in_its_log(folder: DataFolder) -> None:
    supervisor = start(folder, Process("absent", ("/no/such/program",)))
    log = folder.logs / "absent.log"
    wait_for(lambda: log.exists() and "cannot run /no/such/program: No such file" in log.read_text())
    stop(folder)
    supervisor.wait()


def test_a_stubborn_process_is_killed_after_its_patience(folder: DataFolder) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    supervisor = start(folder, Process("deaf", (sys.executable, "-c", deaf), stop_wait_s=1))
    log = folder.logs / "deaf.log"
    wait_for(lambda: log.exists() and "deaf" in log.read_text())
    pid = running(folder)["deaf"].pid
    stop(folder)
    supervisor.wait()
    assert not is_alive(pid)


def test_stopping_what_does_not_run_is_no_error(folder: DataFolder) -> None:
    stop(folder)


def test_configuration_opens_no_tcp_port_and_holds_no_secret(folder: DataFolder) -> None:
    text = supervisor_configuration(folder, [Process("one", SLEEP)])
    parsed = configparser.RawConfigParser()
    parsed.read_string(text)
    assert "inet_http_server" not in parsed
    assert parsed["unix_http_server"]["chmod"] == "0700"
    assert parsed["program:one"]["autorestart"] == "true"


@pytest.mark.parametrize("name", ["with blank", "per%cent", "quo'te", "ünï"])
def test_odd_folder_names_work(tmp_path: Path, name: str) -> None:
    folder = DataFolder(tmp_path / name)
    folder.create()
    supervisor = start(folder, Process("one", (*SLEEP, "a b", "%(x)s")))
    pid = wait_for(lambda: running(folder))["one"].pid
    wait_for(lambda: Path(f"/proc/{pid}/cmdline").read_text().endswith("a b\0%(x)s\0"))
    stop(folder)
    supervisor.wait()


def test_a_folder_name_that_supervisord_would_misread_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="cannot be used"):
        supervisor_configuration(DataFolder(tmp_path / "a ;b"), [])


def test_control_socket_is_private(folder: DataFolder) -> None:
    supervisor = start(folder, Process("one", SLEEP))
    wait_for(lambda: running(folder))
    assert folder.socket.stat().st_mode & 0o077 == 0
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(folder.socket))
    stop(folder)
    supervisor.wait()
