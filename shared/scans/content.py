"""What kind of scan a file is, by its first bytes and never by its name; and what a scan becomes."""

import struct
import zlib
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

ScanFormat = Literal["DICOM", "NIFTI"]
HEAD_BYTES: Final = 2048
"""How much of a file `scan_format` needs to see."""
GZIP: Final = b"\x1f\x8b"
# DICOM PS3.5 section 6.2: value representations that the elements of group 0008 have.
_FIRST_VRS: Final = (b"UL", b"CS", b"UI", b"SH", b"DA", b"TM", b"LO")


@dataclass(frozen=True)
class ScanLimits:
    """What one scan may have; pixels count per slice, bytes after unpacking."""

    max_bytes: int
    max_pixels: int
    min_side_px: int


@dataclass(frozen=True)
class ScanWarning:
    """Something the sender should know of a scan that was accepted.

    Attributes:
        code: stable, snake_case.
        detail: a sentence that begins where a file name ends: "DICOM says that ...".
    """

    code: str
    detail: str


@dataclass(frozen=True)
class ScanSlice:
    """One picture of a scan.

    Attributes:
        pixels_u8: (H, W) uint8, gray levels 0..255, row 0 at the top.
        format: DICOM or NIFTI.
        mode: how levels are stored: the DICOM photometric interpretation, or the NIfTI data type.
        depth_bits: bits per stored sample.
        plane: axial, coronal or sagittal; None where the file does not say or the slice is oblique.
        label: what tells this slice from the others of its file, such as `axial-080`; empty for the only one.
        parameters: what was read and done, as JSON.
        warnings: what the sender should know.
        series: of a DICOM file, hashes of its series and of itself, to be compared with others of the same upload and
            then forgotten; empty where it does not say.
    """

    pixels_u8: NDArray[np.uint8]
    format: ScanFormat
    mode: str
    depth_bits: int
    plane: str | None
    label: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[ScanWarning, ...] = ()
    series: tuple[str, str] = ("", "")

    def record(self) -> dict[str, Any]:
        """What a manifest keeps of this slice."""
        return {"format": self.format, "mode": self.mode, "depth_bits": self.depth_bits, **self.parameters}


def scan_format(head: bytes) -> ScanFormat | None:
    """DICOM, NIFTI or None, from the first `HEAD_BYTES` of a file; a gzip is looked into."""
    if head[:2] == GZIP:
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, 600)
        except zlib.error:
            return None
        return "NIFTI" if _is_nifti(head) else None
    if head[128:132] == b"DICM" or _is_bare_dicom(head):
        return "DICOM"
    return "NIFTI" if _is_nifti(head) else None


def _is_nifti(head: bytes) -> bool:
    """Whether the header has the size and the magic of NIfTI-1 (344) or NIfTI-2 (4), of either byte order."""
    if len(head) < 348:
        return False
    sizes = {struct.unpack_from(order + "i", head)[0] for order in "<>"}
    return (348 in sizes and head[344:347] in (b"n+1", b"ni1")) or (540 in sizes and head[4:7] in (b"n+2", b"ni2"))


def _is_bare_dicom(head: bytes) -> bool:
    """Whether the file begins with group 0008, as DICOM files from before the preamble was introduced do."""
    if (
        len(head) < 16
        or head[:2] != b"\x08\x00"
        or head[2:4] not in (b"\x00\x00", b"\x05\x00", b"\x08\x00", b"\x16\x00")
    ):
        return False
    (length,) = struct.unpack_from("<L", head, 4)
    return head[4:6] in _FIRST_VRS or 0 < length < 1024
