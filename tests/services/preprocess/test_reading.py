import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from services.preprocess.reading import (
    READING_ERRORS,
    ImageTooLarge,
    ImageTooSmall,
    TruncatedImage,
    UnreadableImage,
    UnsupportedImage,
    read_gray,
)
from shared.scans.content import ScanLimits
from shared.scans.dicom import read_dicom
from shared.scans.errors import DicomHasFrames, ScanNotFinite, ScanRefused
from tests.support.scan_files import dicom_file, head_phantom, nifti_file


def encoded(pixels, image_format="PNG", mode=None, **options):
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(buffer, image_format, **options)
    return buffer.getvalue()


def png_header(width, height):
    """A PNG that claims a size and holds nothing."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\x00")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_lossless_formats_return_the_very_pixels(pixels_u8, image_format, mode):
    image = read_gray(encoded(pixels_u8, image_format, mode))
    np.testing.assert_array_equal(image.pixels_u8, pixels_u8)
    assert (image.facts.format, image.facts.mode) == (image_format, mode)
    assert (image.facts.width, image.facts.height) == (64, 48)
    assert not image.facts.colour_strict


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_equals_opencvs_own_gray_reading(pixels_u8, mode):
    data = encoded(pixels_u8, "JPEG", mode)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(read_gray(data).pixels_u8, expected)


def test_coloured_jpeg_equals_opencvs_own_gray_reading(pixels_u8):
    coloured = np.stack([pixels_u8, pixels_u8[::-1], pixels_u8[:, ::-1]], axis=-1)
    data = encoded(np.ascontiguousarray(coloured), "JPEG")
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    image = read_gray(data)
    np.testing.assert_array_equal(image.pixels_u8, expected)
    assert image.facts.colour_chained
    assert image.facts.colour_strict


def test_chained_test_misses_a_pixel_where_two_channels_agree(pixels_u8):
    """R != G but G == B: coloured, though not by the study's chained comparison."""
    coloured = np.stack([pixels_u8, pixels_u8, pixels_u8], axis=-1)
    coloured[5, 5, 0] ^= 64
    facts = read_gray(encoded(coloured)).facts
    assert facts.colour_strict
    assert not facts.colour_chained


def test_format_is_found_by_content_not_by_name(pixels_u8):
    assert read_gray(encoded(pixels_u8, "BMP")).facts.format == "BMP"


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA", "1"])
def test_other_modes_are_recorded_and_read(pixels_u8, mode):
    image = read_gray(encoded(pixels_u8, "PNG", mode))
    assert image.facts.mode == mode
    assert image.pixels_u8.shape == (48, 64)
    assert image.pixels_u8.dtype == np.uint8


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_sixteen_bits_are_windowed_from_their_own_minimum_and_maximum(pixels_u8, image_format):
    """A 12-bit scan in a 16-bit file keeps its contrast; OpenCV's own conversion would leave at most 16 levels."""
    stored = pixels_u8.astype(np.uint16) * 16 + 100
    image = read_gray(encoded(stored, image_format))
    spread = pixels_u8.astype(float) - pixels_u8.min()
    np.testing.assert_array_equal(image.pixels_u8, np.rint(spread * 255 / spread.max()))
    assert image.facts.depth_bits == 16
    assert (image.facts.stored_min, image.facts.stored_max) == (stored.min(), stored.max())


def stored_as(pixels_bgr, ending):
    """A file of these channels, whatever their depth; Pillow writes no colour of 16 bits."""
    return cv2.imencode(ending, pixels_bgr)[1].tobytes()


@pytest.mark.parametrize("ending", [".png", ".tiff"])
@pytest.mark.parametrize("n_channels", [3, 4])
@pytest.mark.parametrize(
    ("changed", "chained", "strict"),
    [((), False, False), ((0,), False, True), ((2,), False, True), ((1,), True, True), ((0, 1), False, True)],
    ids=["gray", "blue", "red", "green", "cyan"],
)
def test_colour_is_found_alike_in_eight_and_sixteen_bits(pixels_u8, ending, n_channels, changed, chained, strict):
    """One pixel of another colour; alpha is none."""
    stored = np.stack([pixels_u8] * 3 + [np.full_like(pixels_u8, 255)], axis=-1)[..., :n_channels]
    stored[5, 5, list(changed)] ^= 64
    for levels in (stored, stored.astype(np.uint16) * 257):
        facts = read_gray(stored_as(np.ascontiguousarray(levels), ending)).facts
        assert facts.depth_bits == 8 * levels.itemsize
        assert (facts.colour_chained, facts.colour_strict) == (chained, strict)


def test_float_tiff_with_nan_is_refused(pixels_u8):
    stored = pixels_u8.astype(np.float32)
    stored[0, 0] = np.nan
    with pytest.raises(UnreadableImage):
        read_gray(encoded(stored, "TIFF"))


def test_constant_deep_image_is_black():
    assert read_gray(encoded(np.full((20, 20), 999, np.uint16))).pixels_u8.max() == 0


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_truncated_files_are_refused(pixels_u8, image_format, share):
    noise = np.random.default_rng(0).integers(0, 256, (128, 128), dtype=np.uint8)
    data = encoded(noise, image_format)
    with pytest.raises(READING_ERRORS):
        read_gray(data[: int(len(data) * share)])


def test_truncated_jpeg_says_so():
    data = encoded(np.random.default_rng(0).integers(0, 256, (128, 128), dtype=np.uint8), "JPEG")
    with pytest.raises(TruncatedImage) as caught:
        read_gray(data[: len(data) // 2])
    assert caught.value.code == "truncated_image"


def test_jpeg_with_bytes_after_its_end_is_read(pixels_u8):
    assert read_gray(encoded(pixels_u8, "JPEG") + b"trailer of a viewer").pixels_u8.shape == (48, 64)


@pytest.mark.parametrize("side", [(8_000, 8_000), (40_000, 40_000), (2**31 - 1, 2**31 - 1)])
def test_bombs_are_refused_from_their_header(side):
    with pytest.raises(ImageTooLarge):
        read_gray(png_header(*side))


def test_pixel_limit_is_an_argument(pixels_u8):
    with pytest.raises(ImageTooLarge):
        read_gray(encoded(pixels_u8), max_pixels=48 * 64 - 1)
    assert read_gray(encoded(pixels_u8), max_pixels=48 * 64).facts.width == 64


@pytest.mark.parametrize("shape", [(1, 1), (15, 200), (200, 15)])
def test_tiny_images_are_refused(shape):
    with pytest.raises(ImageTooSmall):
        read_gray(encoded(np.zeros(shape, np.uint8)))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", UnreadableImage),
        (b"hello", UnreadableImage),
        (bytes(5000), UnreadableImage),
        (b"\xff\xd8\xff", UnreadableImage),
        (b"PK\x03\x04" + bytes(100), UnsupportedImage),
        (b"%PDF-1.7", UnsupportedImage),
        (bytes(128) + b"DICM" + bytes(50), ScanRefused),
        (encoded(np.zeros((20, 20), np.uint8), "GIF"), UnsupportedImage),
        (encoded(np.zeros((20, 20), np.uint8), "WEBP"), UnsupportedImage),
    ],
)
def test_what_is_no_image_gets_a_named_error(data, error):
    with pytest.raises(error) as caught:
        read_gray(data)
    assert caught.value.detail.endswith(".")


def test_several_images_in_one_file_are_refused(pixels_u8):
    page = Image.fromarray(pixels_u8)
    buffer = io.BytesIO()
    page.save(buffer, "TIFF", save_all=True, append_images=[page])
    with pytest.raises(UnsupportedImage):
        read_gray(buffer.getvalue())


@pytest.mark.parametrize(
    "tags", [{}, {"WindowCenter": 1500, "WindowWidth": 900}, {"PhotometricInterpretation": "MONOCHROME1"}]
)
def test_dicom_is_read_as_an_upload_reads_it(tags):
    data = dicom_file(head_phantom(), **tags)
    image = read_gray(data)
    uploaded = read_dicom(data, ScanLimits(10**7, 10**6, 16))
    np.testing.assert_array_equal(image.pixels_u8, uploaded.pixels_u8)
    assert (image.facts.format, image.facts.mode, image.facts.depth_bits) == ("DICOM", uploaded.mode, 16)


def test_nifti_of_one_slice_is_read_and_a_volume_is_told_where_to_go():
    levels = head_phantom(32).astype(np.int16)
    image = read_gray(nifti_file(levels))
    assert (image.facts.format, image.facts.mode, image.pixels_u8.shape) == ("NIFTI", "int16", (32, 32))
    with pytest.raises(UnsupportedImage, match="axis=axial&slices=middle"):
        read_gray(nifti_file(np.stack([levels] * 20, axis=-1)))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (dicom_file(NumberOfFrames=3), DicomHasFrames),
        (nifti_file(np.full((20, 20), np.nan, np.float32)), ScanNotFinite),
    ],
    ids=["frames", "nan"],
)
def test_scans_that_cannot_be_read_keep_their_names(data, error):
    assert issubclass(error, READING_ERRORS)
    with pytest.raises(error):
        read_gray(data)


SEEDS = {
    image_format: encoded(np.random.default_rng(1).integers(0, 256, (24, 24), dtype=np.uint8), image_format)
    for image_format in ("JPEG", "PNG", "TIFF", "BMP")
}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    image_format=st.sampled_from(sorted(SEEDS)),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.integers(0, 300),
)
def test_damaged_files_give_pixels_or_a_named_error(image_format, changes, cut):
    """Whatever the bytes, nothing but our own errors comes out."""
    data = bytearray(SEEDS[image_format])
    for position, value in changes:
        data[position % len(data)] = value
    try:
        image = read_gray(bytes(data[: len(data) - cut]))
    except READING_ERRORS:
        return
    assert image.pixels_u8.ndim == 2
    assert image.pixels_u8.dtype == np.uint8
