"""Child processes that decode uploaded images: started when the first upload comes, replaced when one dies."""

import multiprocessing
import os
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Final

from gateway.upload.errors import ImageDamaged
from gateway.upload.images import ImageLimits, RefusedImage, Verdict, check_slices, confine
from gateway.upload.spool import SpooledFile
from shared.errors import Unavailable
from shared.scans.nifti import SliceChoice
from shared.settings import Settings

_CHUNK: Final = 64
_MAX_CHILDREN: Final = 4
_DEFAULT_CHOICE: Final = SliceChoice()
_ENDS_ITS_CHILD: Final = RefusedImage(ImageDamaged, "Decoding it stops the decoder; export the image again.")


class ImageCheckUnavailable(Unavailable):
    """The processes that check images are being stopped."""


class ImageChecker:
    """Decodes images in confined children.

    Args:
        settings: limits of one image.
    """

    def __init__(self, settings: Settings) -> None:
        self._limits = ImageLimits(
            settings.image_max_bytes,
            settings.image_max_pixels,
            settings.image_min_side_px,
            settings.scan_max_bytes,
            settings.upload_max_unpacked_bytes,
        )
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._closed = False

    def check(self, spool: Path, files: Sequence[SpooledFile], choice: SliceChoice = _DEFAULT_CHOICE) -> list[Verdict]:
        """The verdict on every file, in order; a file that kills its child is refused, the others are checked again.

        Args:
            spool: where the files lie; pictures made of scans are put beside it.
            files: the files.
            choice: which slices of volumes become pictures.
        """
        slices = [(file.offset, file.size) for file in files]
        chunks = [slices[at : at + _CHUNK] for at in range(0, len(slices), _CHUNK)]
        futures = [self._submit(spool, chunk, choice) for chunk in chunks]
        verdicts: list[Verdict] = []
        for chunk, future in zip(chunks, futures, strict=True):
            try:
                verdicts += future.result()
            except BrokenProcessPool:
                verdicts += self._check_alone(spool, chunk, choice)
            except CancelledError as error:
                raise self._stopping() from error
        return verdicts

    def _check_alone(self, spool: Path, chunk: list[tuple[int, int]], choice: SliceChoice) -> list[Verdict]:
        """The verdict on each file, one at a time in a child that no other upload uses: what ends it is the file."""
        verdicts: list[Verdict] = []
        while len(verdicts) < len(chunk):
            with _start_children(1) as child:
                try:
                    for piece in chunk[len(verdicts) :]:
                        self._require_open()
                        verdicts += child.submit(check_slices, str(spool), [piece], self._limits, choice).result()
                except BrokenProcessPool:
                    verdicts.append(_ENDS_ITS_CHILD)
        return verdicts

    def _submit(self, spool: Path, chunk: list[tuple[int, int]], choice: SliceChoice) -> "Future[list[Verdict]]":
        """Hand `chunk` to a child; a pool that broke in the meantime is replaced, the next one that does has failed."""
        for _ in range(2):
            pool = self._open()
            try:
                return pool.submit(check_slices, str(spool), chunk, self._limits, choice)
            except RuntimeError:  # broken, or another upload found it broken and shut it down
                self._discard(pool)
        failed: Future[list[Verdict]] = Future()
        failed.set_exception(BrokenProcessPool())
        return failed

    @staticmethod
    def _stopping() -> ImageCheckUnavailable:
        return ImageCheckUnavailable("The platform is being stopped; send the upload again in a moment.")

    def _open(self) -> ProcessPoolExecutor:
        with self._lock:
            self._require_open()
            if self._pool is None:
                self._pool = _start_children(min(_MAX_CHILDREN, os.cpu_count() or 1))
            return self._pool

    def _require_open(self) -> None:
        if self._closed:
            raise self._stopping()

    def _discard(self, broken: ProcessPoolExecutor) -> None:
        with self._lock:
            if self._pool is broken:
                self._pool = None
        broken.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Stop the children."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)


def _start_children(n: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(max_workers=n, mp_context=multiprocessing.get_context("spawn"), initializer=confine)
