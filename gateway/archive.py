"""A zip of a whole image set, made while it is sent: memory holds a few images, never the archive."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from zipstream import ZIP_STORED, ZipStream

from shared.objects import ObjectStore

_AHEAD: Final = 16
_THREADS: Final = 8


def stream_archive(objects: ObjectStore, images: Sequence[dict[str, Any]]) -> Iterator[bytes]:
    """The bytes of a zip with the original bytes of every image under its name; stored, as images are compressed."""
    archive = ZipStream(compress_type=ZIP_STORED)
    pool = ThreadPoolExecutor(_THREADS)
    waiting: deque[tuple[str, Future[bytes]]] = deque()
    try:
        for image in images:
            waiting.append((image["name"], pool.submit(objects.get_blob, image["sha256"])))
            if len(waiting) > _AHEAD:
                yield from _add(archive, *waiting.popleft())
        while waiting:
            yield from _add(archive, *waiting.popleft())
    finally:
        # When the client goes away in the middle, this runs on the event loop, which must not wait for the threads.
        pool.shutdown(wait=False, cancel_futures=True)
    yield from archive.footer()


def _add(archive: ZipStream, name: str, data: "Future[bytes]") -> Iterator[bytes]:
    archive.add(data.result(), name)
    yield from archive.file()
