"""One image nobody trusts, decoded once to be sure that it is an image. This module runs in confined child processes.

Pillow's decoders raise more than a dozen exception types on bad bytes (RecursionError, MemoryError and AttributeError
among them), and a crash in C must not take the gateway along: so a child with limits decodes, and everything it raises
becomes one of our errors.
"""

import hashlib
import io
import os
import resource
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any, ClassVar, Final

from PIL import Image, UnidentifiedImageError

from gateway.upload.errors import (
    ImageDamaged,
    ImageFileEmpty,
    ImageFileTooLarge,
    ImageHasFrames,
    ImageHidesArchive,
    ImageTooManyPixels,
    ImageTooSlow,
    ImageTooSmall,
    ImageTruncated,
    ImageTypeUnsupported,
)
from gateway.upload.scans import ConvertedImage, PictureSpool, convert_scan
from gateway.upload.spool import SpooledFile, read_slice
from shared.errors import SynthMRIError
from shared.orientation import turn_upright
from shared.scans.content import HEAD_BYTES, ScanFormat, ScanLimits, ScanWarning, scan_format
from shared.scans.nifti import SliceChoice

FORMATS: Final = ("JPEG", "PNG", "TIFF", "BMP")
_MAGIC: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\x00", b"MM\x00*", b"BM")
_MEMORY_BYTES: Final = 2 * 1024**3
_IMAGE_S: Final = 20.0
_SCAN_S: Final = 60.0
"""A volume has hundreds of slices."""
_ZIP_TAIL_BYTES: Final = 66_000


@dataclass(frozen=True)
class ImageLimits:
    """What one image may have, one volume, and all pictures that a child makes of the volumes it is given."""

    max_bytes: int
    max_pixels: int
    min_side_px: int
    scan_max_bytes: int = 512 * 1024**2
    pictures_max_bytes: int = 8 * 1024**3


@dataclass(frozen=True)
class CheckedImage:
    """An image that can be decoded: its size in pixels when upright, format, Pillow mode and the hash of its bytes."""

    width: int
    height: int
    format: str
    mode: str
    sha256: str

    plane: ClassVar[None] = None
    suffix: ClassVar[str] = ""
    warnings: ClassVar[tuple[ScanWarning, ...]] = ()

    @property
    def parameters(self) -> dict[str, Any]:
        """What a manifest says of it."""
        return {"format": self.format, "mode": self.mode}


@dataclass(frozen=True)
class RefusedImage:
    """A file that cannot be used, as plain data that crosses a process border."""

    error: type[SynthMRIError]
    detail: str


Verdict = CheckedImage | tuple[ConvertedImage, ...] | RefusedImage
"""An image that is kept as it came, the pictures made of a scan, or neither."""


def check_slices(path: str, slices: list[tuple[int, int]], limits: ImageLimits, choice: SliceChoice) -> list[Verdict]:
    """The verdict on each (offset, size) of the spool at `path`; pictures of scans lie in a spool beside it."""
    descriptor = os.open(path, os.O_RDONLY)
    pictures = PictureSpool(Path(path).parent, limits.pictures_max_bytes)
    try:
        return [_verdict(descriptor, SpooledFile("", *piece), limits, choice, pictures) for piece in slices]
    finally:
        pictures.close()
        os.close(descriptor)


def _verdict(
    descriptor: int, file: SpooledFile, limits: ImageLimits, choice: SliceChoice, pictures: PictureSpool
) -> Verdict:
    kind = scan_format(read_slice(descriptor, file.offset, min(file.size, HEAD_BYTES)))
    max_bytes = limits.scan_max_bytes if kind == "NIFTI" else limits.max_bytes
    if file.size > max_bytes:
        return RefusedImage(ImageFileTooLarge, f"It has {file.size} bytes, more than the {max_bytes} it may have.")
    try:
        data = read_slice(descriptor, file.offset, file.size)
        if kind is None:
            return check_image(data, limits)
        return check_scan(data, kind, limits, choice, pictures)
    except SynthMRIError as error:
        return RefusedImage(type(error), error.detail)


def check_scan(
    data: bytes, kind: ScanFormat, limits: ImageLimits, choice: SliceChoice, pictures: PictureSpool
) -> tuple[ConvertedImage, ...]:
    """The pictures of the DICOM or NIfTI file in `data`.

    Raises:
        ScanRefused, ImageTooSlow, UploadTooLarge: see each.
    """
    max_bytes = limits.scan_max_bytes if kind == "NIFTI" else limits.max_bytes
    scan_limits = ScanLimits(max_bytes, limits.max_pixels, limits.min_side_px)
    try:
        with _alarm(_SCAN_S), _pixel_limit(limits.max_pixels):
            return convert_scan(data, kind, scan_limits, choice, pictures)
    except TimeoutError as error:
        raise ImageTooSlow(f"Reading it takes longer than {_SCAN_S:.0f} seconds; send fewer slices.") from error


def check_image(data: bytes, limits: ImageLimits) -> CheckedImage:
    """The facts of the image in `data`, after decoding all of it.

    Raises:
        SynthMRIError: one of the Image... leaves of gateway/upload/errors.py.
    """
    if not data:
        raise ImageFileEmpty("It has no bytes; export the image again.")
    # An end record and a directory entry: either signature alone turns up by chance in one of some 60,000 images.
    if b"PK\x05\x06" in data[-_ZIP_TAIL_BYTES:] and b"PK\x01\x02" in data:
        raise ImageHidesArchive("It is an image and a zip at once; export the image again.")
    with _translated(data, limits), _alarm(_IMAGE_S), _pixel_limit(limits.max_pixels), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_header(image, limits)
            width, height = turn_upright(image).size
            return CheckedImage(width, height, str(image.format), image.mode, hashlib.sha256(data).hexdigest())


@contextmanager
def _pixel_limit(max_pixels: int) -> Iterator[None]:
    """Twice `max_pixels` is where Pillow itself refuses to open an image; the exact limit is checked afterwards."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


@contextmanager
def _translated(data: bytes, limits: ImageLimits) -> Iterator[None]:
    """Turn whatever the decoders raise in the block into one of our errors."""
    try:
        yield
    except SynthMRIError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageTooManyPixels(
            f"It has more than {limits.max_pixels} pixels, the most one image may have."
        ) from error
    except UnidentifiedImageError as error:
        if data.startswith(_MAGIC):
            raise ImageDamaged("It begins as an image but cannot be read; export it again.") from error
        raise ImageTypeUnsupported(
            "It is not JPEG, PNG, TIFF, BMP, DICOM or NIfTI (the bytes count, not the name)."
        ) from error
    except TimeoutError as error:
        raise ImageTooSlow(f"Decoding it takes longer than {_IMAGE_S:.0f} seconds; export it again.") from error
    except Exception as error:
        if "truncated" in str(error):
            raise ImageTruncated("Its end is missing; copy or export the image again.") from error
        raise ImageDamaged("It begins as an image but cannot be decoded; export it again.") from error


def _check_header(image: Image.Image, limits: ImageLimits) -> None:
    width, height = image.size
    if width * height > limits.max_pixels:
        raise ImageTooManyPixels(
            f"It is {width} x {height}, more than the {limits.max_pixels} pixels one image may have."
        )
    if min(width, height) < limits.min_side_px:
        raise ImageTooSmall(
            f"It is {width} x {height}; the shorter side must have at least {limits.min_side_px} pixels."
        )
    if getattr(image, "n_frames", 1) > 1:
        raise ImageHasFrames("It holds several frames; send one image per slice.")


@contextmanager
def _alarm(after_s: float) -> Iterator[None]:
    """Raise TimeoutError in the block after `after_s`; only a process's main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, after_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def confine() -> None:
    """Prepare a child process: bounded memory, no core file, Ctrl-C left to the parent, death with the parent."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Image.preinit()
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent.sentinel,), daemon=True).start()


def _die_with(sentinel: int) -> None:
    """A pool child waits on a pipe whose both ends it holds, so without this it would outlive a killed gateway."""
    connection.wait([sentinel])
    os._exit(1)
