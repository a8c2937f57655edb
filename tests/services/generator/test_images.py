import io

import cv2
import numpy as np
import pytest
from PIL import Image

from services.generator.images import (
    ConstantImages,
    TooFewImages,
    WrongImageSize,
    check_images,
    decode_gray,
    encode_png,
    enlarge_image,
    shrink_image,
)
from tests.services.generator.micro import draw_images


def noise(size_px: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (size_px, size_px), dtype=np.uint8)


def test_png_round_trip_keeps_every_level_and_equal_images_give_equal_bytes() -> None:
    image_u8 = noise(32)
    np.testing.assert_array_equal(decode_gray(encode_png(image_u8)), image_u8)
    assert encode_png(image_u8) == encode_png(image_u8.copy())


def test_only_png_and_jpeg_are_decoded() -> None:
    stream = io.BytesIO()
    Image.fromarray(noise(8)).save(stream, format="BMP")
    with pytest.raises(OSError, match="cannot identify"):
        decode_gray(stream.getvalue())


@pytest.mark.parametrize("size_px", [128, 100, 64, 37])
def test_bilinear_is_opencvs(size_px: int) -> None:
    """OpenCV works in 11-bit fixed point, so its rounding may differ by one level."""
    ours = shrink_image(noise(256), size_px, "bilinear").astype(int)
    theirs = cv2.resize(noise(256), (size_px, size_px), interpolation=cv2.INTER_LINEAR).astype(int)
    assert np.abs(ours - theirs).max() <= 1


def test_at_a_factor_of_two_bilinear_and_area_agree() -> None:
    np.testing.assert_array_equal(shrink_image(noise(256), 128, "bilinear"), shrink_image(noise(256), 128, "area"))


def test_area_averages_every_pixel() -> None:
    image_u8 = noise(256)
    means = image_u8.reshape(64, 4, 64, 4).mean(axis=(1, 3))
    assert np.abs(shrink_image(image_u8, 64, "area") - means).max() <= 0.5


@pytest.mark.parametrize("method", ["area", "bilinear"])
def test_shrinking_keeps_the_orientation(method: str) -> None:
    image_u8 = np.zeros((64, 64), np.uint8)
    image_u8[:16, 32:] = 200  # top right
    small = shrink_image(image_u8, 16, method)  # type: ignore[arg-type]
    assert small[0, 15] == 200
    assert small[15, 0] == small[0, 0] == small[15, 15] == 0
    assert enlarge_image(small, 64)[2, 60] == 200


def test_enlarging_to_the_same_size_changes_nothing() -> None:
    image_u8 = noise(16)
    assert enlarge_image(image_u8, 16) is image_u8
    assert enlarge_image(image_u8, 256).shape == (256, 256)


def test_unsuitable_images_are_named_before_training() -> None:
    with pytest.raises(TooFewImages, match=r"number 7; 8 are the least") as few:
        check_images(draw_images(7), 16)
    assert few.value.extra == {"count": 7, "minimum": 8}
    with pytest.raises(WrongImageSize, match="16 x 16 px, the network takes 32 x 32 px"):
        check_images(draw_images(8), 32)
    images_u8 = draw_images(9)
    images_u8[3] = 77
    with pytest.raises(ConstantImages, match=r"1 of 9 images .*\(d.png\)"):
        check_images(images_u8, 16, [f"{letter}.png" for letter in "abcdefghi"])
    check_images(draw_images(8), 16)
