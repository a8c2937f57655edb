"""Letters in the margin are found, whatever their size and direction; heads, rulers and noise are not letters."""

import cv2
import numpy as np
import pytest

from services.preprocess.burned_text import count_letters, has_burned_text

FONT = cv2.FONT_HERSHEY_SIMPLEX


def head(side_px=512):
    """A gray ellipse with bright vessels, a dark margin, and the noise of JPEG."""
    rng = np.random.default_rng(0)
    pixels = np.full((side_px, side_px), 4, np.uint8)
    half = side_px // 2
    cv2.ellipse(pixels, (half, half), (int(half * 0.62), int(half * 0.8)), 0, 0, 360, 120, -1)
    for x, y in rng.integers(half // 2, half + half // 2, (40, 2)):
        cv2.circle(pixels, (int(x), int(y)), 4, 230, -1)
    return cv2.add(pixels, rng.integers(0, 10, pixels.shape, np.uint8))


def written(pixels, text, corner=(6, 24), scale=0.5, level=230):
    return cv2.putText(pixels.copy(), text, corner, FONT, scale, level, 1, cv2.LINE_AA)


def test_a_head_alone_has_no_text():
    for side_px in (64, 225, 512, 900):
        assert count_letters(head(side_px)) == 0


@pytest.mark.parametrize("text", ["DOE JOHN", "W 953 : L 437", "1970-01-01"])
@pytest.mark.parametrize("corner", [(6, 24), (6, 500)])
@pytest.mark.parametrize("scale", [0.4, 0.5, 0.7])
def test_text_in_a_corner_is_found(text, corner, scale):
    pixels = written(head(), text[:8], corner, scale)
    assert has_burned_text(pixels)
    assert has_burned_text(np.ascontiguousarray(pixels[:, ::-1]))
    assert has_burned_text(np.ascontiguousarray(pixels[::-1]))


def test_text_survives_a_jpeg():
    data = cv2.imencode(".jpg", written(head(), "DOE JOHN"), [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
    assert has_burned_text(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))


def test_text_of_a_large_image_is_found():
    assert has_burned_text(written(head(2000), "DOE JOHN", (20, 80), 1.5))


def test_one_or_two_letters_are_no_text():
    assert not has_burned_text(written(head(), "R"))
    assert not has_burned_text(written(head(), "RA"))


def test_a_ruler_is_no_text():
    pixels = head()
    for x in range(150, 360, 20):
        cv2.line(pixels, (x, 495), (x, 505), 230, 1)
    assert not has_burned_text(pixels)


def test_noise_in_the_margin_is_no_text():
    rng = np.random.default_rng(1)
    pixels = np.where(rng.random((512, 512)) < 0.05, 255, head()).astype(np.uint8)
    assert not has_burned_text(pixels)


@pytest.mark.parametrize("level", [0, 90, 255])
def test_constant_images(level):
    assert count_letters(np.full((40, 60), level, np.uint8)) == 0


@pytest.mark.data
def test_the_labels_of_four_testing_images_are_found(data_dir):
    """Looked at one by one: each of the four shows letters, and nothing else of the 405 images is taken for text."""
    folder = data_dir / "brain-tumor-mri" / "Testing" / "notumor"
    found = {path.stem for path in folder.iterdir() if has_burned_text(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))}
    assert found == {"Te-no_0123", "Te-no_0137", "Te-no_0154", "Te-no_0321"}
