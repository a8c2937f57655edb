"""The data folder of an embedded platform: where each file is, who may use it, and whether it can be used at all."""

import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from deploy.embedded.console import CannotStart

# A Unix socket's path has at most 107 bytes (unix(7)); supervisord binds "<path>.<pid>" first, then renames.
LONGEST_SOCKET_PATH = 95
LEAST_FREE_BYTES = 256 * 1024**2


@dataclass(frozen=True)
class DataFolder:
    """Paths inside one data folder, and the two locks that say who is at work in it."""

    root: Path

    @property
    def run(self) -> Path:
        """Files that describe the running platform; all of them can be made again."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """One log per process, rotated."""
        return self.root / "logs"

    @property
    def redis(self) -> Path:
        """The append-only file of the embedded Redis."""
        return self.root / "redis"

    @property
    def s3(self) -> Path:
        """The buckets of the embedded S3 server, as folders."""
        return self.root / "s3"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.root / "synthmri.db"

    @property
    def credentials(self) -> Path:
        """Secrets made at the first start, mode 600."""
        return self.root / "credentials.json"

    @property
    def api_key(self) -> Path:
        """The API key made at the first start, mode 600."""
        return self.root / "api-key"

    @property
    def ports(self) -> Path:
        """Internal ports chosen at the first start."""
        return self.root / "ports.json"

    @property
    def pid_file(self) -> Path:
        """The pid of supervisord; true only while `is_running`."""
        return self.run / "supervisord.pid"

    @property
    def state(self) -> Path:
        """The address of the gateway and the names of the processes, as last started."""
        return self.run / "platform.json"

    @property
    def socket(self) -> Path:
        """Supervisord's control socket: inside the folder, or in a private temporary folder if the path is too long."""
        inside = self.run / "supervisord.sock"
        if len(os.fsencode(inside)) <= LONGEST_SOCKET_PATH:
            return inside
        parent = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return parent / f"synthmri-{os.getuid()}-{digest}" / "supervisord.sock"

    def create(self) -> None:
        """Make the folders, mode 700, and prove that a file can be written in each.

        Raises:
            CannotStart: the folder cannot be written, or its disk is nearly full.
        """
        try:
            for folder in (self.root, self.run, self.logs, self.redis, self.s3):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder) as probe:
                    probe.write(b"x")
            _make_private(self.socket.parent)
        except OSError as error:
            raise CannotStart(
                f"Cannot write in the data folder {self.root}: {error.strerror or error}. "
                "Make it writable, or name another one with SYNTHMRI_DATA_DIR."
            ) from error
        free_bytes = shutil.disk_usage(self.root).free
        if free_bytes < LEAST_FREE_BYTES:
            raise CannotStart(
                f"The disk that holds {self.root} is full: {free_bytes // 1024**2} MiB are free, "
                f"{LEAST_FREE_BYTES // 1024**2} MiB are needed to start. Free some space, or name another folder "
                "with SYNTHMRI_DATA_DIR."
            )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let one `up` or `down` at a time work in this folder.

        Raises:
            CannotStart: another one is at work.
        """
        with _open_lock(self.run / "command.lock") as lock:
            if not _try_lock(lock):
                raise CannotStart(f"Another `up` or `down` is at work in {self.root}; wait until it has finished.")
            yield

    @contextmanager
    def platform_lock(self) -> Iterator[IO[bytes]]:
        """The lock that supervisord inherits, and so holds for exactly as long as it lives.

        It waits, because a concurrent `is_running` may hold the lock for a moment.
        """
        with _open_lock(self._platform_lock_path) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock

    def is_running(self) -> bool:
        """Whether a supervisord of this folder is alive; told by its lock, so a stale pid file cannot deceive."""
        if not self._platform_lock_path.exists():
            return False
        with _open_lock(self._platform_lock_path) as lock:
            return not _try_lock(lock)

    @property
    def _platform_lock_path(self) -> Path:
        return self.run / "platform.lock"

    def supervisor_pid(self) -> int | None:
        """The pid of the living supervisord, None when there is none or it has not written it yet."""
        if not self.is_running():
            return None
        try:
            return int(self.pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def read_state(self) -> dict[str, Any]:
        """What `write_state` wrote at the last start; empty before the first."""
        try:
            state: dict[str, Any] = json.loads(self.state.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return state

    def write_state(self, state: dict[str, Any]) -> None:
        """Remember where the platform listens and what it runs."""
        write_private(self.state, json.dumps(state, indent=2))


def write_private(path: Path, text: str) -> None:
    """Write `text` so that `path` holds all of it or is untouched, readable by its owner only."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _make_private(folder: Path) -> None:
    """Make `folder` with mode 700; refuse one that somebody else prepared."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError(None, f"{folder} belongs to somebody else")
    folder.chmod(0o700)


def _open_lock(path: Path) -> IO[bytes]:
    return open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")


def _try_lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
