import io

import numpy as np
import pytest
from PIL import Image

from services.evaluator.audit.images import (
    AuditImages,
    ColourImages,
    ConstantImages,
    ImageSizesDiffer,
    check_sides,
    read_file_facts,
)
from services.evaluator.features.reading import ImageUnreadable
from services.evaluator.metrics.samples import TooFewImages
from tests.services.evaluator.audit.conftest import PNG, draw_heads, make_images


def encode(pixels: np.ndarray, file_format: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, file_format, **options)
    return out.getvalue()


@pytest.mark.parametrize("quality", [30, 50, 75, 90, 95, 100])
def test_the_quality_of_a_jpeg_is_read_from_its_tables(quality: int) -> None:
    facts = read_file_facts(encode(draw_heads(1, 0)[0], "JPEG", quality=quality))
    assert (facts.file_format, facts.mode, facts.jpeg_quality) == ("JPEG", "L", quality)
    assert facts.chroma_subsampling is None


def test_a_gray_image_stored_in_colour_tells_its_subsampling() -> None:
    gray = draw_heads(1, 0)[0]
    facts = read_file_facts(encode(np.repeat(gray[..., None], 3, axis=2), "JPEG", quality=75, subsampling="4:2:0"))
    assert (facts.mode, facts.jpeg_quality, facts.chroma_subsampling) == ("RGB", 75, "4:2:0")
    facts = read_file_facts(encode(gray, "PNG"))
    assert (facts.file_format, facts.jpeg_quality, facts.width, facts.height) == ("PNG", None, 64, 64)


def test_colours_and_damaged_files_are_named_errors() -> None:
    colour = np.zeros((16, 16, 3), np.uint8)
    colour[..., 0] = 200
    with pytest.raises(ColourImages, match=r"'a\.png' has colours"):
        read_file_facts(encode(colour, "PNG"), "a.png")
    with pytest.raises(ImageUnreadable):
        read_file_facts(b"no image", "b.png")


def test_sides_that_cannot_be_compared_are_refused_before_any_work() -> None:
    good = make_images(draw_heads(3, 0))
    flat = make_images(np.stack([draw_heads(1, 1)[0], np.full((64, 64), 9, np.uint8)]))
    small = make_images(draw_heads(3, 2, size_px=32))
    empty = AuditImages([], np.zeros((0, 64, 64), np.uint8), [], [])
    check_sides(good, good, None)
    for side in (empty, good.take([0])):
        with pytest.raises(TooFewImages):
            check_sides(side, good, None)
        with pytest.raises(TooFewImages):
            check_sides(good, good, side)
    with pytest.raises(ConstantImages, match=r"image_1\.png"):
        check_sides(flat, good, None)
    with pytest.raises(ImageSizesDiffer, match="32 x 32"):
        check_sides(small, good, None)
    with pytest.raises(ValueError, match="1 names"):
        AuditImages(["a"], draw_heads(2, 0), [PNG] * 2, [None] * 2)
