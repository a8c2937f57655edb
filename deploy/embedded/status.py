"""`status`, `logs` and `openapi`: what runs, since when, in how much memory, and what it wrote."""

import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.embedded.console import CannotStart, say
from deploy.embedded.folder import DataFolder
from deploy.embedded.plan import folder_from
from deploy.embedded.readiness import LOCAL, tail, what_is_down
from deploy.embedded.supervision import read_processes


def describe(folder: DataFolder) -> dict[str, Any]:
    """The running platform as JSON: its address, what is down, and each process with pid, seconds and MiB."""
    if not folder.is_running():
        return {"running": False, "url": None, "down": [], "supervisord_pid": None, "processes": []}
    url = folder.read_state().get("url")
    now = time.time()
    processes = [
        {
            "name": process.name,
            "state": process.state.lower(),
            "pid": process.pid or None,
            "uptime_s": round(now - process.started_at, 1) if process.pid else 0.0,
            "memory_mib": memory_mib(process.pid) if process.pid else None,
        }
        for process in read_processes(folder)
    ]
    return {
        "running": True,
        "url": url,
        "down": what_is_down(url) if url else [],
        "supervisord_pid": folder.supervisor_pid(),
        "processes": processes,
    }


def show_status(environ: Mapping[str, str], *, as_json: bool) -> bool:
    """Write the state of the platform, and say whether it is ready."""
    folder = folder_from(environ)
    state = describe(folder)
    if as_json:
        say(json.dumps(state, indent=2))
    elif not state["running"]:
        say(f"SynthMRI is not running (data folder {folder.root}).")
    else:
        say("\n".join(_table(state)))
    return bool(state["running"]) and not state["down"]


def show_logs(environ: Mapping[str, str], names: list[str], *, n_lines: int, follow: bool) -> None:
    """Write the end of the named logs, of all by default; with `follow`, go on as they grow.

    Raises:
        CannotStart: there is no such log.
    """
    folder = folder_from(environ)
    known = {path.stem: path for path in sorted(folder.logs.glob("*.log"))}
    unknown = [name for name in names if name not in known]
    if unknown or not known:
        raise CannotStart(
            f"There is no log {', '.join(unknown) or folder.logs}; there are: {', '.join(known) or 'none'}."
        )
    paths = [known[name] for name in names or known]
    if follow:
        os.execvp("tail", ["tail", "-n", str(n_lines), "-F", *map(str, paths)])  # noqa: S606, S607
    for path in paths:
        say(f"== {path.stem}\n{tail(path, n_lines)}")


def save_openapi(environ: Mapping[str, str], target: Path) -> None:
    """Write the merged OpenAPI document of the running platform to `target`, indented, keys in its own order.

    Raises:
        CannotStart: no platform runs in the data folder.
    """
    folder = folder_from(environ)
    if not folder.is_running():
        raise CannotStart(f"SynthMRI is not running (data folder {folder.root}); start it first: make up.")
    with LOCAL.open(f"{folder.read_state()['url']}/openapi.json", timeout=30) as answer:
        document = json.load(answer)
    target.write_text(json.dumps(document, indent=2) + "\n")
    say(f"Wrote {target}: {len(document['paths'])} paths.")


def memory_mib(pid: int) -> float | None:
    """Proportional set size in MiB (a page shared by k processes counts 1/k); None where /proc lacks it."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    return round(int(found[1]) / 1024, 1) if found else None


def _table(state: Mapping[str, Any]) -> list[str]:
    rows = [
        f"{row['name']:<24} {row['state']:<9} {row['pid'] or '-':>8} {_duration(row['uptime_s']):>9} "
        f"{'-' if row['memory_mib'] is None else format(row['memory_mib'], '.0f'):>7}"
        for row in state["processes"]
    ]
    total_mib = sum(row["memory_mib"] or 0 for row in state["processes"])
    health = f"down: {', '.join(state['down'])}" if state["down"] else "ready"
    return [
        f"SynthMRI at {state['url']}: {health}",
        f"{'process':<24} {'state':<9} {'pid':>8} {'up':>9} {'MiB':>7}",
        *rows,
        f"{'all together':<24} {'':<9} {'':>8} {'':>9} {total_mib:>7.0f}",
    ]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
