"""Stored bytes become gray arrays of one size, or a named error."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from services.evaluator.features.reading import (
    ColourImages,
    ConstantImages,
    ImageUnreadable,
    MoreThanEightBits,
    Reading,
    SizesDiffer,
    common_size,
    read_gray,
    require_contrast,
    require_one_size,
)


def encode(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]", file_format: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, file_format)
    return out.getvalue()


def test_gray_pixels_arrive_unchanged_and_upright() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    assert np.array_equal(read_gray(encode(pixels), "x", (4, 3)), pixels)


def test_colour_is_refused_and_gray_kept_as_rgb_is_not() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    gray = np.repeat(pixels[..., None], 3, axis=2)
    assert np.array_equal(read_gray(encode(gray), "x", (8, 8)), pixels)
    assert read_gray(encode(gray, "JPEG"), "x", (8, 8)) == pytest.approx(pixels.astype(float), abs=40)
    colour = gray.copy()
    colour[3, 3] = (200, 100, 100)
    with pytest.raises(ColourImages, match="Preprocess the set first"):
        read_gray(encode(colour), "x", (8, 8))


def test_a_reading_by_nearest_neighbour_invents_no_gray_level() -> None:
    pixels = np.random.default_rng(0).choice([0, 255], (7, 7)).astype(np.uint8)
    assert set(np.unique(read_gray(encode(pixels), "x", Reading((20, 20), nearest=True)))) <= {0, 255}
    assert len(np.unique(read_gray(encode(pixels), "x", Reading((20, 20))))) > 2
    assert len({Reading((2, 3)).name, Reading((3, 2)).name, Reading((2, 3), nearest=True).name}) == 3


def test_resizing_keeps_the_mean() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    small = read_gray(encode(pixels), "x", (16, 16))
    assert small.shape == (16, 16)
    assert small.mean() == pytest.approx(pixels.mean(), abs=1.5)


@pytest.mark.parametrize("data", [b"", b"not an image", encode(np.zeros((9, 9), np.uint8))[:40]])
def test_damaged_files_are_named(data: bytes) -> None:
    with pytest.raises(ImageUnreadable, match="glioma/x"):
        read_gray(data, "glioma/x.png", (9, 9))


def test_sixteen_bits_are_refused_and_not_clipped() -> None:
    with pytest.raises(MoreThanEightBits, match="8 bits"):
        read_gray(encode(np.full((9, 9), 4000, np.uint16)), "x", (9, 9))


@pytest.mark.parametrize("ending", [".png", ".tiff"])
@pytest.mark.parametrize("n_channels", [3, 4])
def test_sixteen_bits_of_colours_are_refused_and_not_cut_to_eight(ending: str, n_channels: int) -> None:
    gray = np.random.default_rng(0).integers(0, 4096, (9, 9, 1))
    deep, shallow = (np.repeat(gray // by, n_channels, axis=2).astype(kind) for by, kind in ((1, "u2"), (16, "u1")))
    assert read_gray(cv2.imencode(ending, shallow)[1].tobytes(), "x", (9, 9)).shape == (9, 9)
    with pytest.raises(MoreThanEightBits, match="8 bits"):
        read_gray(cv2.imencode(ending, deep)[1].tobytes(), "x", (9, 9))


def test_sixteen_bits_of_gray_with_transparency_are_refused() -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    def png(depth: int) -> bytes:
        header = struct.pack(">IIBBBBB", 9, 9, depth, 4, 0, 0, 0)  # colour type 4: gray with alpha (PNG, table 11.1)
        rows = zlib.compress((b"\x00" + bytes(9 * 2 * depth // 8)) * 9)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")

    assert read_gray(png(8), "x", (9, 9)).shape == (9, 9)
    with pytest.raises(MoreThanEightBits, match="8 bits"):
        read_gray(png(16), "x", (9, 9))


def test_a_bitmap_of_sixteen_bits_per_pixel_has_fewer_per_sample_and_is_read() -> None:
    header = struct.pack("<IiiHHIIiiII", 40, 9, 9, 1, 16, 0, 0, 0, 0, 0, 0)  # rows of 9 x 2 bytes, filled up to 20
    data = b"BM" + struct.pack("<IHHI", 54 + 180, 0, 0, 54) + header + bytes(180)
    assert read_gray(data, "x", (9, 9)).shape == (9, 9)


def test_formats_outside_the_list_are_refused() -> None:
    with pytest.raises(ImageUnreadable):
        read_gray(encode(np.zeros((9, 9), np.uint8), "GIF"), "x", (9, 9))


def test_the_real_images_set_the_size() -> None:
    assert common_size([(256, 256)] * 3 + [(512, 512)], [(64, 64)] * 9) == ((256, 256), 10)
    assert common_size([(64, 64), (32, 32)], []) == ((64, 64), 1)
    assert common_size([(32, 32), (64, 64)], []) == ((64, 64), 1)


def test_sides_without_contrast_and_several_sizes_are_named() -> None:
    require_contrast("real", 4, 5)
    with pytest.raises(ConstantImages, match="All 5 synthetic images are constant"):
        require_contrast("synthetic", 5, 5)
    require_one_size([(4, 4)] * 3)
    with pytest.raises(SizesDiffer, match=r"2 pixel sizes \(3 of 4 x 4, 1 of 5 x 4 px\)"):
        require_one_size([(4, 4)] * 3 + [(5, 4)])
