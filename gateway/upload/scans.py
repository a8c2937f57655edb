"""DICOM and NIfTI files turned into gray PNG images at the door. This module runs in confined child processes.

The image set keeps the PNG alone: the file that was sent, with whatever it says of a patient, goes with the spool.
"""

import hashlib
import io
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from PIL import Image

from gateway.upload.errors import UploadTooLarge
from gateway.upload.spool import SpooledFile
from shared.scans.content import ScanFormat, ScanLimits, ScanSlice, ScanWarning
from shared.scans.dicom import read_dicom
from shared.scans.nifti import SliceChoice, read_nifti

_COMPRESSION: Final = 4
"""Of zlib: twice as fast as its default on MRI slices, and one per cent larger."""


@dataclass(frozen=True)
class ConvertedImage:
    """A picture made of a scan.

    Attributes:
        width: columns, pixels.
        height: rows, pixels.
        sha256: of the bytes of the PNG.
        plane: axial, coronal, sagittal, or None.
        suffix: what its name has more than the file that was sent.
        parameters: what was read and done, for the manifest.
        warnings: what the sender should know.
        spool: where the PNG lies.
        file: its place in that spool.
        series: of a DICOM file, hashes of its series and of itself; empty where it does not say.
    """

    width: int
    height: int
    sha256: str
    plane: str | None
    suffix: str
    parameters: dict[str, Any]
    warnings: tuple[ScanWarning, ...]
    spool: str
    file: SpooledFile
    series: tuple[str, str]


class PictureSpool:
    """PNG images of one child process's share of an upload; opened by the first of them.

    Args:
        folder: where it lies; removed with the upload.
        max_bytes: what it may hold.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.path = ""
        self.size = 0
        self._folder = folder
        self._max_bytes = max_bytes
        self._file: IO[bytes] | None = None

    def append(self, data: bytes) -> SpooledFile:
        """Put `data` at the end.

        Raises:
            UploadTooLarge: the spool is full.
        """
        if self.size + len(data) > self._max_bytes:
            raise UploadTooLarge("The slices of the volumes take more room than one upload has; send fewer at a time.")
        if self._file is None:
            descriptor, self.path = tempfile.mkstemp(prefix="pictures-", dir=self._folder)
            self._file = os.fdopen(descriptor, "wb")
        self._file.write(data)
        self.size += len(data)
        return SpooledFile("", self.size - len(data), len(data))

    def rewind(self, size: int) -> None:
        """Forget what came after `size` bytes: pictures of a scan that was refused in the end."""
        if self._file is not None:
            self._file.seek(size)
            self._file.truncate()
            self.size = size

    def close(self) -> None:
        """Write what is buffered, so that others can read the path."""
        if self._file is not None:
            self._file.close()


def convert_scan(
    data: bytes, kind: ScanFormat, limits: ScanLimits, choice: SliceChoice, spool: PictureSpool
) -> tuple[ConvertedImage, ...]:
    """The pictures of the scan in `data`, written to `spool`: one of a DICOM file, the chosen ones of a NIfTI file.

    Raises:
        ScanRefused: one of the leaves of shared/scans/errors.py; nothing of the scan stays in the spool.
        UploadTooLarge: the spool is full.
    """
    begin = spool.size
    try:
        return tuple(_convert(piece, spool) for piece in _slices(data, kind, limits, choice))
    except BaseException:
        spool.rewind(begin)
        raise


def _slices(data: bytes, kind: ScanFormat, limits: ScanLimits, choice: SliceChoice) -> Iterable[ScanSlice]:
    if kind == "NIFTI":
        return read_nifti(data, limits, choice)
    return [read_dicom(data, limits)]


def _convert(scan: ScanSlice, spool: PictureSpool) -> ConvertedImage:
    buffer = io.BytesIO()
    Image.fromarray(scan.pixels_u8).save(buffer, "PNG", compress_level=_COMPRESSION)
    png = buffer.getvalue()
    file = spool.append(png)
    height, width = scan.pixels_u8.shape
    return ConvertedImage(
        width,
        height,
        hashlib.sha256(png).hexdigest(),
        scan.plane,
        f".{scan.label}.png" if scan.label else ".png",
        scan.record(),
        scan.warnings,
        spool.path,
        file,
        scan.series,
    )
