"""The spool: every file of an upload, one after another in a single file on disk."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PREFIX: Final = "upload-"
_STALE_S: Final = 3600.0


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
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def remove_stale_folders(data_dir: Path) -> int:
    """Remove the spools that a killed gateway left behind an hour ago or earlier; return how many."""
    removed = 0
    for folder in (data_dir / "tmp").glob(f"{_PREFIX}*"):
        if time.time() - folder.stat().st_mtime > _STALE_S:
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    return removed
