"""Which DICOM tags are read, which of them a manifest may keep, and the keywords of those that are dropped.

Values are read from `READ` and `READ_AND_DROPPED` only; every other element is skipped unread. A text is kept only if
it is one of the terms that the standard lists for it, since scanners and people write names into any free text.
"""

import hashlib
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAX_ELEMENTS: Final = 20_000
OBLIQUE_DEGREES: Final = 30.0
"""How far a slice may be tilted and still carry the name of a plane."""
PLANES: Final = ("sagittal", "coronal", "axial")
"""The plane whose normal is the patient's x, y, z axis (DICOM PS3.3 section C.7.6.2.1.1)."""

# DICOM PS3.3: section C.7.3.1.1.1 (Modality, those that make images), C.8.3.1 (MR Image module).
_TERMS: Final = {
    "Modality": frozenset(
        (
            "MR",
            "CT",
            "PT",
            "NM",
            "US",
            "XA",
            "RF",
            "CR",
            "DX",
            "MG",
            "IO",
            "OT",
            "ES",
            "GM",
            "OP",
            "SM",
            "OPT",
            "XC",
            "SC",
        )
    ),
    "ScanningSequence": frozenset(("SE", "IR", "GR", "EP", "RM")),
    "SequenceVariant": frozenset(("SK", "MTC", "SS", "TRSS", "SP", "MP", "OSP", "NONE")),
    "MRAcquisitionType": frozenset(("2D", "3D")),
    "BurnedInAnnotation": frozenset(("YES", "NO")),
    "LossyImageCompression": frozenset(("00", "01")),
    "PhotometricInterpretation": frozenset(
        ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
    ),
}
# Keyword: how many numbers. Millimetres, milliseconds, tesla and degrees, as PS3.3 has them.
_NUMBERS: Final = {
    "Rows": 1, "Columns": 1, "BitsStored": 1, "PixelSpacing": 2, "SliceThickness": 1, "SpacingBetweenSlices": 1,
    "MagneticFieldStrength": 1, "RepetitionTime": 1, "EchoTime": 1, "InversionTime": 1, "FlipAngle": 1,
    "EchoTrainLength": 1, "ImageOrientationPatient": 6,
}  # fmt: skip
_PIXELS: Final = (
    "PixelData", "SamplesPerPixel", "PlanarConfiguration", "BitsAllocated", "HighBit", "PixelRepresentation",
    "NumberOfFrames", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "WindowCenter", "WindowWidth",
    "VOILUTFunction", "VOILUTSequence", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData", "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData", "SegmentedBluePaletteColorLookupTableData",
)  # fmt: skip
READ: Final = (*_TERMS, *_NUMBERS, *_PIXELS)
"""Keywords of all elements whose values are read and may be kept."""
READ_AND_DROPPED: Final = ("SeriesInstanceUID", "SOPInstanceUID")
"""Keywords of the elements that tell which files are slices of one series; their values stay nowhere."""

# Representations that can hold a person, a place, a time, an identifier or free text (DICOM PS3.5 section 6.2).
# Every attribute of the confidentiality profile (PS3.15 table E.1-1) has one of them, but for those named below.
_TELLING_VRS: Final = frozenset(
    ("AE", "AS", "DA", "DT", "LO", "LT", "OB", "PN", "SH", "SQ", "ST", "TM", "UC", "UI", "UN", "UR", "UT")
)
_HARMLESS: Final = frozenset(("SOPClassUID", "MediaStorageSOPClassUID", "TransferSyntaxUID", "PatientPosition"))
_OVERLAYS: Final = range(0x6000, 0x6100)


def keep_tags(dataset: "Dataset") -> dict[str, Any]:
    """The technical tags of `dataset` by keyword: terms of the standard and finite numbers, nothing else."""
    kept: dict[str, Any] = {}
    for keyword, terms in _TERMS.items():
        words = [str(word).strip() for word in values_of(dataset, keyword)]
        if words and terms.issuperset(words):
            kept[keyword] = words[0] if len(words) == 1 else words
    for keyword, count in _NUMBERS.items():
        numbers = numbers_of(dataset, keyword)
        if len(numbers) == count:
            kept[keyword] = numbers[0] if count == 1 else numbers
    return kept


def values_of(dataset: "Dataset", keyword: str) -> list[Any]:
    """The values of an element, however many; none where it is missing, empty or cannot be read."""
    try:
        value = dataset.get(keyword)
    except Exception:  # noqa: BLE001 on hostile bytes pydicom's converters raise nearly any type
        return []
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str | bytes) else [value]


def numbers_of(dataset: "Dataset", keyword: str) -> list[float]:
    """The values of an element as numbers; none if one of them is no finite number."""
    try:
        numbers = [float(value) for value in values_of(dataset, keyword)]
    except (TypeError, ValueError, OverflowError):
        return []
    return [int(n) if n.is_integer() else n for n in numbers] if all(map(math.isfinite, numbers)) else []


def series_of(dataset: "Dataset") -> tuple[str, str]:
    """Hashes of what the file says to be its series and itself, to be compared and forgotten; empty where it does not.

    DICOM PS3.3 sections C.7.3.1 and C.12.1. An identifier can be looked up, and a hash of it too: neither is kept.
    """
    series, instance = ("".join(map(str, values_of(dataset, keyword))).strip() for keyword in READ_AND_DROPPED)
    if not series or not instance:
        return "", ""
    return hashlib.sha256(series.encode()).hexdigest(), hashlib.sha256(instance.encode()).hexdigest()


def dropped_tags(tags: Iterable[int]) -> tuple[list[str], int]:
    """The keywords of the elements that could tell who the patient is, and how many private ones there were.

    Args:
        tags: all elements of the file, without their values.
    """
    from pydicom.datadict import dictionary_VR, keyword_for_tag

    keywords = set()
    private = 0
    for tag in set(tags):
        keyword = keyword_for_tag(tag)
        if (tag >> 16) % 2 or not keyword:
            private += 1
        elif keyword not in READ and keyword not in _HARMLESS:
            telling = bool(_TELLING_VRS.intersection(dictionary_VR(tag).split(" or ")))
            if telling or keyword.startswith("Patient") or (tag >> 16) in _OVERLAYS:
                keywords.add(keyword)
    return sorted(keywords), private


def plane_of(orientation: Any) -> str | None:
    """The plane of a slice from ImageOrientationPatient: six direction cosines of a row and a column, x, y, z each.

    None where they are missing or no directions, and for slices tilted by more than 30 degrees.
    """
    if orientation is None:
        return None
    row, column = np.reshape(np.asarray(orientation, dtype=np.float64), (2, 3))
    normal = np.cross(row, column)
    length = float(np.linalg.norm(normal))
    lengths = [float(np.linalg.norm(row)), float(np.linalg.norm(column)), length]
    if not np.allclose(lengths, 1.0, atol=0.05):
        return None
    return nearest_plane(normal / length)


def nearest_plane(normal: Any) -> str | None:
    """The plane of a slice from its unit normal (x, y, z) in the patient; None beyond 30 degrees of tilt."""
    cosines = np.abs(np.asarray(normal, dtype=np.float64))
    axis = int(cosines.argmax())
    return PLANES[axis] if cosines[axis] >= math.cos(math.radians(OBLIQUE_DEGREES)) else None
