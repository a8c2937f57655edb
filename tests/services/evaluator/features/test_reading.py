"""Stored bytes become gray arrays of one size, or a named error."""

import io

import numpy as np
import pytest
from PIL import Image

from services.evaluator.features.reading import ImageUnreadable, common_size, read_gray


def encode(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]", file_format: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, file_format)
    return out.getvalue()


def test_gray_pixels_arrive_unchanged_and_upright() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    assert np.array_equal(read_gray(encode(pixels), "x", (4, 3)), pixels)


def test_colour_becomes_luma() -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[..., 1] = 255
    assert read_gray(encode(pixels), "x", (2, 2)).tolist() == [[150, 150], [150, 150]]  # 0.587 x 255, ITU-R 601-2


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
    with pytest.raises(ImageUnreadable, match="8 bits"):
        read_gray(encode(np.full((9, 9), 4000, np.uint16)), "x", (9, 9))


def test_formats_outside_the_list_are_refused() -> None:
    with pytest.raises(ImageUnreadable):
        read_gray(encode(np.zeros((9, 9), np.uint8), "GIF"), "x", (9, 9))


def test_the_real_images_set_the_size() -> None:
    assert common_size([(256, 256)] * 3 + [(512, 512)], [(64, 64)] * 9) == ((256, 256), 10)
    assert common_size([(64, 64), (32, 32)], []) == ((64, 64), 1)
    assert common_size([(32, 32), (64, 64)], []) == ((64, 64), 1)
