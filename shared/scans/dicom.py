"""One DICOM slice: bytes in, gray pixels as a viewer would show them out, and only what is safe to keep."""

import io
import logging
import warnings
from typing import TYPE_CHECKING, Final

from shared.scans.content import ScanLimits, ScanSlice
from shared.scans.dicom_pixels import render_dicom
from shared.scans.dicom_tags import MAX_ELEMENTS, READ, READ_AND_DROPPED, keep_tags, numbers_of
from shared.scans.errors import (
    DicomColourUnsupported,
    DicomCompressionUnsupported,
    DicomHasFrames,
    DicomHasNoPixels,
    ScanDamaged,
    ScanRefused,
    ScanTooLarge,
    ScanTooSmall,
    ScanTruncated,
)

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

_DEFLATED: Final = b"1.2.840.10008.1.2.1.99"
_ITEMS: Final = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
_MAX_ITEMS: Final = 100_000
_PIXEL_DATA: Final = 0x7FE00010
_HOW_TO_DECOMPRESS: Final = "decompress it first, for example with `gdcmconv --raw in.dcm out.dcm`."


def read_dicom(data: bytes, limits: ScanLimits) -> ScanSlice:
    """The slice in a DICOM file, with the window of its tags, or of its percentiles where they give none.

    Levels are rescaled (slope and intercept, or the modality table), windowed (DICOM PS3.3 section C.11), and inverted
    for MONOCHROME1, where low levels are white. Colour becomes luma. Pixels stay in their stored order; overlays are
    not drawn.

    Args:
        data: the whole file.
        limits: checked from the header, before pixels are decoded.

    Raises:
        ScanRefused: one of the leaves of `errors`.
    """
    if len(data) > limits.max_bytes:
        raise ScanTooLarge(f"The DICOM file has more than {limits.max_bytes} bytes; send single slices.")
    try:
        dataset, tags = _parse(data)
        _check_header(dataset, tags, limits)
        return render_dicom(dataset, tags)
    except (ScanRefused, TimeoutError):  # an alarm that a caller has set
        raise
    except MemoryError as error:
        raise ScanTooLarge("The DICOM file does not fit into memory; send single slices.") from error
    except Exception as error:  # On hostile bytes pydicom and its decoders raise nearly any type.
        raise ScanDamaged("The DICOM file is damaged and cannot be read; export it again.") from error


def _parse(data: bytes) -> tuple["FileDataset", set[int]]:
    """The elements that are read, and the tags of all elements at the top of the file."""
    _import_quietly()
    from pydicom.errors import InvalidDicomError
    from pydicom.filereader import read_partial
    from pydicom.tag import BaseTag, Tag

    if _DEFLATED in data:
        raise DicomCompressionUnsupported(f"The DICOM file is deflated as a whole; {_HOW_TO_DECOMPRESS}")
    if any(data.count(item) > _MAX_ITEMS for item in _ITEMS):
        raise ScanDamaged(f"The DICOM file has more than {_MAX_ITEMS} items of sequences; export the slice again.")
    tags: set[int] = set()

    def see(tag: int, _vr: str | None, _length: int) -> bool:
        tags.add(int(tag))
        if len(tags) > MAX_ELEMENTS:
            raise ScanDamaged(f"The DICOM file has more than {MAX_ELEMENTS} elements; export the slice again.")
        return False

    wanted: list[BaseTag | int] = [Tag(keyword) for keyword in (*READ, *READ_AND_DROPPED)]
    try:
        dataset = read_partial(io.BytesIO(data), see, force=data[128:132] != b"DICM", specific_tags=wanted)
    except InvalidDicomError as error:
        raise ScanDamaged("The DICOM file begins as one but cannot be read; export it again.") from error
    tags.update(int(element.tag) for element in dataset.file_meta)
    if not dataset.file_meta.get("TransferSyntaxUID"):
        _assume_syntax(dataset)
    return dataset, tags


def _import_quietly() -> None:
    """Import pydicom and silence it: its warnings and log lines repeat values of the file."""
    import pydicom.config

    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=r"pydicom(\..*)?$")
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


def _assume_syntax(dataset: "FileDataset") -> None:
    from pydicom import uid

    implicit, little = dataset.original_encoding
    native = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
    dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else native


def _check_header(dataset: "FileDataset", tags: set[int], limits: ScanLimits) -> None:
    if _PIXEL_DATA in tags and "PixelData" not in dataset:
        raise ScanTruncated("The DICOM file ends inside its pixels; copy or export it again.")
    size = [*numbers_of(dataset, "Rows"), *numbers_of(dataset, "Columns")]
    if len(size) != 2:
        raise DicomHasNoPixels("The DICOM file is no image (a report, a directory or a damaged header); leave it out.")
    rows, columns = (int(side) for side in size)
    if rows * columns > limits.max_pixels:
        raise ScanTooLarge(f"The slice is {columns} x {rows}, more than the {limits.max_pixels} pixels one may have.")
    if min(rows, columns) < limits.min_side_px:
        raise ScanTooSmall(f"The slice is {columns} x {rows}; both sides must have at least {limits.min_side_px}.")
    frames = [*numbers_of(dataset, "NumberOfFrames"), 1][0]
    if frames > 1:
        raise DicomHasFrames(
            f"The DICOM file holds {frames} frames: save each slice as a file of its own, or convert the volume to "
            "NIfTI and choose a slice."
        )
    if "PixelData" not in dataset:
        raise DicomHasNoPixels("The DICOM file has a header and no pixels: it was cut off or never had any.")
    _check_photometric(dataset)
    _check_pixel_bytes(dataset, rows, columns)


def _check_photometric(dataset: "FileDataset") -> None:
    photometric = keep_tags(dataset).get("PhotometricInterpretation")
    samples = [*numbers_of(dataset, "SamplesPerPixel"), 1][0]
    gray = photometric in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
    if photometric is None or samples != (1 if gray else 3):
        raise DicomColourUnsupported(
            "The pixels are neither gray, RGB, YBR nor of a palette; export the slice as gray (MONOCHROME2) or as PNG."
        )


def _check_pixel_bytes(dataset: "FileDataset", rows: int, columns: int) -> None:
    """Uncompressed pixels have a known length; compressed ones need a decoder that is installed."""
    from pydicom.pixels.decoders.base import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    bits = [*numbers_of(dataset, "BitsStored"), 0][0]
    if not available or (str(syntax) == "1.2.840.10008.1.2.4.51" and bits > 8):  # Pillow's JPEG has 8 bits
        name = syntax.name if syntax.name != str(syntax) else "a way that is not known here"
        raise DicomCompressionUnsupported(f"The pixels are compressed as {name}; {_HOW_TO_DECOMPRESS}")
    if not syntax.is_compressed:
        allocated = int([*numbers_of(dataset, "BitsAllocated"), 0][0])
        samples = int([*numbers_of(dataset, "SamplesPerPixel"), 1][0])
        share = 2 / 3 if keep_tags(dataset)["PhotometricInterpretation"] == "YBR_FULL_422" else 1
        if len(dataset.PixelData) < int(rows * columns * samples * allocated / 8 * share):
            raise ScanTruncated("The DICOM file ends inside its pixels; copy or export it again.")
