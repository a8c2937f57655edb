import io

import numpy as np
import pytest
from PIL import Image

from gateway.rendering import contact_sheet, to_png
from tests.gateway.pictures import picture


def opened(data):
    return Image.open(io.BytesIO(data))


def encoded(array, image_format="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format=image_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("image_format", ["PNG", "BMP", "TIFF"])
def test_gray_pixels_are_kept(image_format):
    array = np.arange(32 * 40, dtype=np.uint8).reshape(32, 40)
    shown = opened(to_png(encoded(array, image_format), None))
    assert shown.format == "PNG"
    assert np.array_equal(np.asarray(shown), array)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK"])
def test_colour_becomes_rgb(mode):
    image_format = "TIFF" if mode == "CMYK" else "PNG"
    assert opened(to_png(picture(mode=mode, image_format=image_format), None)).mode == "RGB"


def test_sixteen_bits_are_windowed_not_divided():
    values = np.linspace(300, 1300, 64 * 64).astype(np.uint16).reshape(64, 64)  # as a scanner gives them
    values[0, 0] = 60_000  # one hot pixel must not darken the rest
    shown = np.asarray(opened(to_png(encoded(values), None)))
    assert shown.dtype == np.uint8
    assert shown.min() == 0
    assert np.median(shown) == pytest.approx(128, abs=3)


def test_a_constant_sixteen_bit_image_is_black():
    assert np.asarray(opened(to_png(encoded(np.full((32, 32), 700, np.uint16)), None))).max() == 0


def test_metadata_of_the_original_is_gone():
    exif = Image.Exif()
    exif[0x010E] = "Jane Doe 1961"
    original = encoded(np.zeros((32, 32), np.uint8), "JPEG", exif=exif.tobytes())
    assert b"Jane Doe" in original
    assert b"Jane Doe" not in to_png(original, None)


@pytest.mark.parametrize(
    ("size", "px", "wanted"), [((400, 200), 96, (96, 48)), ((10, 40), 80, (20, 80)), ((64, 64), 64, (64, 64))]
)
def test_the_longer_side_has_px_pixels(size, px, wanted):
    assert opened(to_png(picture(size=size), px)).size == wanted


@pytest.mark.parametrize(("n", "wanted"), [(1, (32, 32)), (2, (66, 32)), (5, (100, 66)), (9, (100, 100))])
def test_contact_sheets_are_near_square(n, wanted):
    assert opened(contact_sheet(range(n), picture, 32)).size == wanted


def test_a_contact_sheet_holds_one_original_at_a_time():
    held, most = 0, 0

    class Original(bytes):
        """Bytes that count how many of their kind there are."""

        def __new__(cls, seed):
            nonlocal held, most
            held += 1
            most = max(most, held)
            return super().__new__(cls, picture(seed))

        def __del__(self):
            nonlocal held
            held -= 1

    contact_sheet(range(9), Original, 32)
    assert (held, most) == (0, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_without_a_finite_pixel_is_one_gray(value):
    shown = np.asarray(opened(to_png(encoded(np.full((32, 32), value, np.float32), "TIFF"), None)))
    assert shown.shape == (32, 32)
    assert shown.min() == shown.max()
