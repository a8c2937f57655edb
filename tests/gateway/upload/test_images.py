import contextlib
import io
import struct
import zlib

import pytest
from PIL import Image

from gateway.upload import errors
from gateway.upload.images import ImageLimits, check_image
from shared.errors import InvalidInput, SynthMRIError
from tests.gateway.pictures import picture, zip_of

LIMITS = ImageLimits(max_bytes=10_000_000, max_pixels=1_000_000, min_side_px=16)


def chunk(kind, data):
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def png(width, height, *extra, rows=b""):
    header = struct.pack(">2L5B", width, height, 1, 0, 0, 0, 0)
    body = b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body


def frames(image_format, n=3):
    buffer = io.BytesIO()
    pages = [Image.new("L", (32, 32), index) for index in range(n)]
    pages[0].save(buffer, format=image_format, save_all=True, append_images=pages[1:])
    return buffer.getvalue()


def tiff_loop():
    """A TIFF whose first directory names itself as the next one."""
    data = bytearray(picture(image_format="TIFF"))
    at = struct.unpack_from("<L", data, 4)[0]
    n = struct.unpack_from("<H", data, at)[0]
    struct.pack_into("<L", data, at + 2 + 12 * n, at)
    return bytes(data)


BAD = {
    "nothing": (b"", errors.ImageFileEmpty),
    "text": (b"not an image at all", errors.ImageTypeUnsupported),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg' onload='x'/>", errors.ImageTypeUnsupported),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", errors.ImageTypeUnsupported),
    "gif": (frames("GIF"), errors.ImageTypeUnsupported),
    "half a JPEG": (picture(image_format="JPEG", size=(300, 300))[:5000], errors.ImageTruncated),
    "half a PNG": (picture(size=(300, 300))[:5000], errors.ImageTruncated),
    "one pixel": (picture(size=(1, 1)), errors.ImageTooSmall),
    "one row": (picture(size=(200, 1)), errors.ImageTooSmall),
    "30,000 x 30,000": (png(30_000, 30_000, rows=bytes(3751)), errors.ImageTooManyPixels),
    "a little above the limit": (png(1024, 1024, rows=bytes(129 * 1024)), errors.ImageTooManyPixels),
    "2^31 wide": (png(2**31 - 1, 2**31 - 1), errors.ImageTooManyPixels),
    "frames": (frames("TIFF"), errors.ImageHasFrames),
    "zip behind it": (picture() + zip_of({"a": b"b"}), errors.ImageHidesArchive),
    "only a beginning": (b"\x89PNG\r\n\x1a\n", errors.ImageDamaged),
    "zTXt of 200 MB": (
        png(32, 32, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(200_000_000))), rows=bytes(160)),
        errors.ImageDamaged,
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_image_is_refused_by_name(name):
    data, error = BAD[name]
    with pytest.raises(SynthMRIError) as caught:
        check_image(data, LIMITS)
    assert type(caught.value) is error


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "BMP"])
def test_accepted_formats_are_known_by_their_bytes(image_format):
    checked = check_image(picture(size=(40, 30), image_format=image_format), LIMITS)
    assert (checked.width, checked.height, checked.format, checked.mode) == (40, 30, image_format, "L")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "I;16"])
def test_modes_are_recorded(mode):
    assert check_image(picture(mode=mode), LIMITS).mode == mode


def test_a_tiff_that_points_to_itself_ends():
    with contextlib.suppress(InvalidInput):
        check_image(tiff_loop(), LIMITS)


def test_the_limit_of_pixels_is_exact():
    assert check_image(png(1000, 1000, rows=bytes(126 * 1000)), LIMITS).width == 1000
