"""The spool: every file of an upload, one after another in a single file on disk."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PREFIX: Final = "upload-"


@dataclass(frozen=True)
class SpooledFile:
    """One file in a spool: the name its sender gave it, and where its bytes lie."""

    name: str
    offset: int
    size: int


class Spool:
    """A file that only grows.

    Args:
        path: where it is made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._file = path.open("xb", buffering=1024 * 1024)

    def append(self, data: bytes) -> None:
        """Put `data` at the end."""
        self._file.write(data)
        self.size += len(data)

    def close(self) -> None:
        """Write what is buffered, so that others can read the path."""
        self._file.close()


def read_slice(descriptor: int, offset: int, size: int) -> bytes:
    """`size` bytes from `offset`; safe to call from several threads on one descriptor."""
    return os.pread(descriptor, size, offset)


@contextmanager
def spool_folder(data_dir: Path) -> Iterator[Path]:
    """A private folder under `<data_dir>/tmp` that is gone after the block."""
    parent = data_dir / "tmp"
    parent.mkdir(parents=True, exist_ok=True)
    prefix = f"{_PREFIX}{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def remove_stale_folders(data_dir: Path) -> int:
    """Remove the spools of gateways that were killed; return how many. Call before the first upload."""
    removed = 0
    for folder in (data_dir / "tmp").glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        # A process that has just started has no uploads: what carries its number is an earlier one's.
        if not pid.isdigit() or int(pid) == os.getpid() or not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    return removed
