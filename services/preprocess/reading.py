"""Bytes of an image file in, gray pixels and facts about the file out; anything odd ends in a named error.

What a file is, is decided by its content and never by its name: five `.jpg` files of the Nickparvar data set
are PNG data. DICOM and NIfTI files of one slice are read by shared.scans; image sets hold none of them, since an upload
turns them into PNG at once.
"""

import io
import warnings
from dataclasses import asdict, dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from shared.errors import InvalidInput, TooLarge, UnsupportedType
from shared.orientation import ORIENTATION_TAG, UPRIGHT, read_orientation, turn_pixels
from shared.scans.content import HEAD_BYTES, ScanFormat, ScanLimits, ScanSlice, scan_format
from shared.scans.dicom import read_dicom
from shared.scans.errors import ScanRefused, SliceNotChosen
from shared.scans.nifti import read_nifti

warnings.filterwarnings("error", category=Image.DecompressionBombWarning)

MAX_PIXELS = 50_000_000
MIN_SIDE_PX = 16
SCAN_MAX_BYTES = 64 * 1024**2
"""A slice of 50 million pixels is compressed; what is larger than this is no slice."""
FORMATS = ("JPEG", "PNG", "TIFF", "BMP")
_FOREIGN_MAGIC = {b"GIF8": "a GIF", b"%PDF": "a PDF", b"PK\x03\x04": "a ZIP", b"\x1f\x8b": "a gzip", b"RIFF": "a WebP"}
_GRAY_MODES = frozenset({"1", "L"})


class UnreadableImage(InvalidInput):
    """The bytes are not an image, or are damaged beyond decoding."""


class TruncatedImage(UnreadableImage):
    """The file ends before the image does."""


class ImageTooSmall(InvalidInput):
    """A side is too short to show a brain."""


class ImageTooLarge(TooLarge):
    """More pixels than the platform decodes."""


class UnsupportedImage(UnsupportedType):
    """A kind of file that is not read here, or several images in one file."""


READING_ERRORS = (UnreadableImage, ImageTooSmall, ImageTooLarge, UnsupportedImage, ScanRefused)


@dataclass(frozen=True)
class ImageFacts:
    """What a file says about itself.

    Attributes:
        format: the format by content: JPEG, PNG, TIFF, BMP, DICOM or NIFTI.
        mode: the colour mode in Pillow's spelling: L, RGB, RGBA, P, I;16, ...; of a DICOM file its photometric
            interpretation, of a NIfTI file its data type.
        width: columns of the decoded image, pixels.
        height: rows of the decoded image, pixels.
        depth_bits: bits per sample before the conversion to 8.
        stored_min: lowest stored level, mapped to 0; given where depth_bits > 8 and no window says otherwise.
        stored_max: highest stored level, mapped to 255; given with stored_min.
        colour_chained: a pixel has R != G and G != B, the study's test (study 1.1: 92 Training images).
        colour_strict: a pixel has two channels that differ at all.
        orientation: the orientation tag, 2..8, by which the pixels were turned upright; None where there was nothing to
            turn.
    """

    format: str
    mode: str
    width: int
    height: int
    depth_bits: int = 8
    stored_min: float | None = None
    stored_max: float | None = None
    colour_chained: bool = False
    colour_strict: bool = False
    orientation: int | None = None

    def record(self) -> dict[str, Any]:
        """The facts as JSON, without those that do not apply."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class GrayImage:
    """A decoded image.

    Attributes:
        pixels_u8: (H, W) uint8, gray levels 0..255, row 0 at the top.
        facts: what the file said about itself.
    """

    pixels_u8: NDArray[np.uint8]
    facts: ImageFacts


def read_gray(data: bytes, *, max_pixels: int = MAX_PIXELS, min_side_px: int = MIN_SIDE_PX) -> GrayImage:
    """Gray pixels of a JPEG, PNG, TIFF or BMP file, as OpenCV's IMREAD_GRAYSCALE gives them (the study's reader).

    A DICOM slice, or a NIfTI file of one slice, is windowed as shared.scans does at an upload.

    Samples of more than 8 bits are mapped linearly from their own minimum and maximum to 0..255, since a 12-bit scan in
    a 16-bit file would otherwise come out black; the two levels are recorded. Whatever the format and depth, the image
    is turned as its orientation tag says, and the tag is recorded.

    Args:
        data: the whole file.
        max_pixels: images of more pixels are refused from their header, before anything is decoded.
        min_side_px: images with a shorter side are refused.

    Raises:
        UnreadableImage: not an image, or damaged.
        TruncatedImage: the file ends too early.
        UnsupportedImage: another format, or several images in one file.
        ImageTooLarge: more than `max_pixels`.
        ImageTooSmall: a side below `min_side_px`.
        ScanRefused: a DICOM or NIfTI file that cannot be read; one of the leaves of shared.scans.errors.
    """
    kind = scan_format(data[:HEAD_BYTES])
    if kind is not None:
        return _read_scan(data, kind, ScanLimits(SCAN_MAX_BYTES, max_pixels, min_side_px))
    header = _read_header(data)
    width, height = header.size
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"The image is {width} x {height}, above the limit of {max_pixels:,} pixels: "
            "send the slice itself, not a scan of a sheet."
        )
    if min(width, height) < min_side_px:
        raise ImageTooSmall(
            f"The image is {width} x {height}; both sides must be at least {min_side_px} pixels: "
            "send the MRI at its native size."
        )
    if _count_frames(header) > 1:
        raise UnsupportedImage("The file holds several images: save each slice as a file of its own.")
    # OpenCV turns a TIFF that has the tag and cannot be told not to; every other turn is left to this module.
    turned_by_opencv = ORIENTATION_TAG in getattr(header, "tag_v2", {})
    orientation = _read_orientation(header, data)
    image = _decode(data, str(header.format), header.mode)
    if orientation == UPRIGHT:
        return image
    pixels = image.pixels_u8 if turned_by_opencv else turn_pixels(image.pixels_u8, orientation)
    height, width = pixels.shape
    return GrayImage(pixels, replace(image.facts, width=width, height=height, orientation=orientation))


def _read_scan(data: bytes, kind: ScanFormat, limits: ScanLimits) -> GrayImage:
    try:
        scan: ScanSlice = read_dicom(data, limits) if kind == "DICOM" else next(read_nifti(data, limits))
    except SliceNotChosen as error:
        raise UnsupportedImage(error.detail) from error
    height, width = scan.pixels_u8.shape
    coloured = any(warning.code == "scan_has_colour" for warning in scan.warnings)
    facts = ImageFacts(kind, scan.mode, width, height, scan.depth_bits, colour_strict=coloured)
    return GrayImage(scan.pixels_u8, facts)


def _read_header(data: bytes) -> Image.Image:
    if not data:
        raise UnreadableImage("The file is empty: send it again.")
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLarge("The image claims far more pixels than an MRI slice has: send the slice itself.") from error
    except UnidentifiedImageError as error:
        raise _what_else(data) from error
    except Exception as error:  # On hostile bytes Pillow's parsers raise nearly any type.
        raise UnreadableImage("The header of the image is damaged: export the image again.") from error


def _count_frames(header: Image.Image) -> int:
    try:
        return int(getattr(header, "n_frames", 1))
    except Exception as error:  # Counting reads every directory of a TIFF.
        raise UnreadableImage("The image is damaged and does not decode: export it again.") from error


def _what_else(data: bytes) -> UnreadableImage | UnsupportedImage:
    known = next((name for magic, name in _FOREIGN_MAGIC.items() if data.startswith(magic)), None)
    if known:
        return UnsupportedImage(
            f"This is {known} file; JPEG, PNG, TIFF, BMP, DICOM and NIfTI are read: export the slice as PNG."
        )
    if data.startswith((b"\xff\xd8", b"\x89PNG", b"II*\x00", b"MM\x00*", b"BM")):
        return TruncatedImage("The file ends inside the header of the image: send it again.")
    return UnreadableImage("This is not an image: send a JPEG, PNG, TIFF, BMP, DICOM or NIfTI file.")


def _ends_where_it_should(image_format: str | None, data: bytes) -> bool:
    """True when the end marker is in place, so that the slow check by a full decode can be spared.

    OpenCV fills the missing part of a truncated JPEG with gray and says nothing.
    """
    if image_format == "JPEG":
        return data.rstrip(b"\x00\r\n")[-2:] == b"\xff\xd9"  # EOI, ITU-T T.81 table B.1
    return False


def _read_orientation(header: Image.Image, data: bytes) -> int:
    """The orientation tag, 1..8, after a full decode where nothing else would show that the file is damaged."""
    try:
        orientation = read_orientation(header)
        if not _ends_where_it_should(header.format, data):
            header.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLarge("The file unpacks to far more data than an MRI slice has.") from error
    except Exception as error:  # On hostile bytes Pillow's decoders raise nearly any type.
        if "truncated" in str(error).lower() or isinstance(error, EOFError):
            raise TruncatedImage("The file ends before the image does: send it again.") from error
        raise UnreadableImage("The image is damaged and does not decode: export it again.") from error
    return orientation


def _decode(data: bytes, image_format: str, mode: str) -> GrayImage:
    if image_format == "JPEG" and mode == "L":
        pixels = _opencv(data, cv2.IMREAD_GRAYSCALE)
        return GrayImage(pixels, ImageFacts(image_format, mode, pixels.shape[1], pixels.shape[0]))
    stored = np.zeros(0, np.uint8) if image_format == "JPEG" else _opencv(data, cv2.IMREAD_UNCHANGED)
    if stored.dtype != np.uint8:
        return _decode_deep(stored, image_format, mode)
    if mode in _GRAY_MODES:
        pixels, chained, strict = _opencv(data, cv2.IMREAD_GRAYSCALE), False, False
    else:
        pixels, chained, strict = _decode_colour(data)
    height, width = pixels.shape
    facts = ImageFacts(image_format, mode, width, height, colour_chained=chained, colour_strict=strict)
    return GrayImage(pixels, facts)


def _decode_colour(data: bytes) -> tuple[NDArray[np.uint8], bool, bool]:
    """Gray pixels (H, W) uint8, and whether the chained and the strict test find colour."""
    blue, green, red = cv2.split(_opencv(data, cv2.IMREAD_COLOR))
    chained, strict = _find_colour(blue, green, red)
    if not strict:
        # With R = G = B everywhere the luma equals each channel, so one decode serves both ends.
        return np.asarray(green), chained, strict
    return _opencv(data, cv2.IMREAD_GRAYSCALE), chained, strict


def _find_colour(blue: NDArray[Any], green: NDArray[Any], red: NDArray[Any]) -> tuple[bool, bool]:
    """Whether the chained and the strict test find colour in three channels, each (H, W) levels as stored."""
    if np.array_equal(red, green) and np.array_equal(green, blue):
        return False, False
    return bool(((red != green) & (green != blue)).any()), True


def _decode_deep(stored: NDArray[Any], image_format: str, mode: str) -> GrayImage:
    levels = stored.astype(np.float64)
    chained = strict = False
    if levels.ndim == 3:
        chained, strict = _find_colour(*cv2.split(stored)[:3])
        levels = levels[..., :3] @ np.array([0.114, 0.587, 0.299])  # luma of B, G, R: ITU-R BT.601 section 2.5.1
    if not np.isfinite(levels).all():
        raise UnreadableImage("The image holds values that are not numbers: export it again as PNG.")
    low, high = float(levels.min()), float(levels.max())
    pixels = np.rint((levels - low) * (255.0 / (high - low) if high > low else 0.0)).astype(np.uint8)
    height, width = pixels.shape
    bits = stored.dtype.itemsize * 8
    facts = ImageFacts(image_format, mode, width, height, bits, low, high, colour_chained=chained, colour_strict=strict)
    return GrayImage(pixels, facts)


def _opencv(data: bytes, flag: int) -> NDArray[Any]:
    if flag != cv2.IMREAD_UNCHANGED:  # which is all bits set, and turns nothing
        flag |= cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flag)
    except cv2.error as error:
        raise UnreadableImage("The image does not decode: export it again as PNG.") from error
    if pixels is None:
        raise UnreadableImage("The image does not decode: export it again as PNG.")
    return np.asarray(pixels)
