"""Every reader of the platform sees an image the same way up, whatever its file says of its orientation."""

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gateway.rendering import contact_sheet, to_png
from gateway.upload.images import ImageLimits, check_image
from services.evaluator.features.reading import read_gray as read_for_evaluation
from services.preprocess.reading import read_gray
from shared.orientation import ORIENTATION_TAG, read_orientation, turn_pixels, turn_upright

# Exif 2.32, 4.6.4 A: where row 0 and column 0 of the stored pixels are seen, as a change of the stored array.
SEEN = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.T,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].T,
    8: lambda stored: np.rot90(stored),
}
LIMITS = ImageLimits(max_bytes=1_000_000, max_pixels=1_000_000, min_side_px=16)
KINDS = ["JPEG", "JPEG RGB", "PNG", "PNG RGB", "PNG LA", "PNG 16", "TIFF", "TIFF RGB", "TIFF 16"]


def stored_pixels() -> NDArray[np.uint8]:
    """(24, 40) uint8 without any symmetry, in blocks of 8 px that a JPEG of full quality keeps exactly."""
    levels = np.full((3, 5), 0, np.uint8)
    levels[0, 1:], levels[1, 3:], levels[2, 4] = 255, 64, 64
    return np.kron(levels, np.ones((8, 8), np.uint8))


def encoded(pixels: NDArray[np.generic], kind: str, orientation: Any) -> bytes:
    """A file of `kind` (format, then mode or bits) with an orientation tag."""
    image_format, _, mode = kind.partition(" ")
    image = Image.fromarray(pixels.astype(np.uint16) * 16) if mode == "16" else Image.fromarray(pixels)
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    options: dict[str, Any] = {"JPEG": {"quality": 100, "subsampling": 0}}.get(image_format, {})
    tag = {"tiffinfo": {ORIENTATION_TAG: orientation}} if image_format == "TIFF" else {"exif": exif.tobytes()}
    buffer = io.BytesIO()
    (image.convert(mode) if mode not in ("", "16") else image).save(buffer, image_format, **options, **tag)
    return buffer.getvalue()


def shown(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", SEEN)
def test_preprocessing_and_previews_show_the_same_pixels_the_right_way_up(kind: str, orientation: int) -> None:
    data, seen = encoded(stored_pixels(), kind, orientation), SEEN[orientation](stored_pixels())
    image = read_gray(data)
    np.testing.assert_array_equal(image.pixels_u8, seen)
    np.testing.assert_array_equal(shown(to_png(data, None)), seen)
    np.testing.assert_array_equal(shown(contact_sheet([data], bytes, 40)).max(axis=0) > 0, _columns_in_cell(seen))
    assert image.facts.orientation == (None if orientation == 1 else orientation)
    assert (image.facts.height, image.facts.width) == seen.shape
    assert ("orientation" in image.facts.record()) is (orientation != 1)


def _columns_in_cell(seen: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of a 40 px cell's columns show something: the image in the cell's middle."""
    left = (40 - seen.shape[1]) // 2
    return np.pad(seen.max(axis=0) > 0, (left, 40 - left - seen.shape[1]))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "16" not in kind])
@pytest.mark.parametrize("orientation", SEEN)
def test_the_evaluator_and_the_upload_agree(kind: str, orientation: int) -> None:
    data, seen = encoded(stored_pixels(), kind, orientation), SEEN[orientation](stored_pixels())
    checked = check_image(data, LIMITS)
    assert (checked.height, checked.width) == seen.shape
    pixels = read_for_evaluation(data, "scan", (checked.width, checked.height))
    np.testing.assert_array_equal(pixels, seen)


@pytest.mark.parametrize("orientation", SEEN)
def test_thumbnails_are_turned_too(orientation: int) -> None:
    stored = np.kron(stored_pixels(), np.ones((8, 8), np.uint8))
    data = encoded(stored, "JPEG", orientation)  # eight times as large, so that the decoder itself reduces it
    thumbnail = shown(to_png(data, 40)).astype(int)
    seen = SEEN[orientation](stored_pixels())
    assert thumbnail.shape == seen.shape
    assert np.abs(thumbnail - seen).mean() < 12


@pytest.mark.parametrize("tag", [0, 9, 65535])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "PNG 16", "TIFF"])
def test_a_tag_without_meaning_turns_nothing(kind: str, tag: int) -> None:
    data = encoded(stored_pixels(), kind, tag)
    np.testing.assert_array_equal(read_gray(data).pixels_u8, stored_pixels())
    np.testing.assert_array_equal(shown(to_png(data, None)), stored_pixels())
    assert read_gray(data).facts.orientation is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_damaged_exif_turns_nothing_and_hurts_nobody(kind: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(stored_pixels()).save(buffer, kind, quality=100, exif=b"Exif\x00\x00garbage")
    data = buffer.getvalue()
    np.testing.assert_array_equal(read_gray(data).pixels_u8, stored_pixels())
    np.testing.assert_array_equal(shown(to_png(data, None)), stored_pixels())
    np.testing.assert_array_equal(read_for_evaluation(data, "scan", (40, 24)), stored_pixels())


def test_an_orientation_in_xmp_alone_counts_everywhere() -> None:
    """Pillow reads it and OpenCV does not, in a TIFF as little as in a JPEG."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    for image_format, options in (("JPEG", {"xmp": xmp, "quality": 100}), ("TIFF", {"tiffinfo": {700: xmp}})):
        buffer = io.BytesIO()
        Image.fromarray(stored_pixels()).save(buffer, image_format, **options)
        data = buffer.getvalue()
        np.testing.assert_array_equal(read_gray(data).pixels_u8, SEEN[6](stored_pixels()))
        np.testing.assert_array_equal(shown(to_png(data, None)), SEEN[6](stored_pixels()))


@pytest.mark.parametrize("orientation", SEEN)
def test_colour_pixels_turn_like_gray_ones(orientation: int) -> None:
    stored = np.stack([stored_pixels(), stored_pixels() // 2, 255 - stored_pixels()], axis=-1)
    turned = turn_pixels(stored, orientation)
    assert turned.flags["C_CONTIGUOUS"]
    for channel in range(3):
        np.testing.assert_array_equal(turned[..., channel], SEEN[orientation](stored[..., channel]))


def test_what_needs_no_turn_is_not_copied() -> None:
    image = Image.open(io.BytesIO(encoded(stored_pixels(), "PNG", 1)))
    assert turn_upright(image) is image
    assert read_orientation(Image.open(io.BytesIO(encoded(stored_pixels(), "TIFF", 6)))) == 6
