import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from services.preprocess.geometry import (
    background_level,
    fit_square,
    is_nearly_square,
    mirror,
    passes_study_filter,
    resize,
    rotate,
)


@pytest.mark.parametrize("tumour_class", ["glioma", "meningioma", "pituitary", None])
def test_study_filter_keeps_only_squares_of_other_classes(tumour_class):
    assert passes_study_filter(300, 300, tumour_class)
    assert not passes_study_filter(300, 299, tumour_class)


@pytest.mark.parametrize(
    ("width", "height", "kept"),
    [(200, 182, True), (200, 181, False), (182, 200, True), (181, 200, False), (200, 219, True), (200, 221, False)],
)
def test_study_filter_lets_notumor_differ_by_a_tenth_of_either_side(width, height, kept):
    """0.9 W <= H <= 1.1 W and 0.9 H <= W <= 1.1 H: both must hold, so 181 x 200 fails (1.1 * 181 = 199.1)."""
    assert passes_study_filter(width, height, "notumor") is kept


@given(st.integers(16, 3000), st.integers(16, 3000))
def test_nearly_square_is_symmetric(width, height):
    assert is_nearly_square(width, height) == is_nearly_square(height, width)


def test_area_averages_and_bilinear_aliases():
    """Stripes one pixel wide, four to one: their mean is 127.5; bilinear sees two of each four."""
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::4] = 255
    area = resize(stripes, 16, 16, "area")
    np.testing.assert_allclose(area, 255 / 4, atol=1)
    assert np.abs(resize(stripes, 16, 16, "bilinear").astype(float) - 255 / 4).min() > 50


def test_enlarging_is_bilinear_either_way(pixels_u8):
    np.testing.assert_array_equal(resize(pixels_u8, 128, 96, "area"), resize(pixels_u8, 128, 96, "bilinear"))


@given(st.integers(16, 90), st.integers(16, 90))
def test_fitted_image_keeps_its_proportions_and_its_place(width, height):
    square, level = fit_square(np.full((height, width), 200, np.uint8), 64, "area")
    assert square.shape == (64, 64)
    assert level == 200
    content = np.zeros((height, width), np.uint8)
    content[1:-1, 1:-1] = 255
    rows, columns = np.nonzero(fit_square(content, 64, "area")[0] > 127)
    assert abs((np.ptp(columns) + 1) / (np.ptp(rows) + 1) - (width - 2) / (height - 2)) < 0.35 * max(width / height, 1)
    assert abs(rows.mean() - 31.5) <= 1.0
    assert abs(columns.mean() - 31.5) <= 1.0


def test_a_needle_does_not_become_a_giant_square():
    square, _ = fit_square(np.full((16, 200_000), 90, np.uint8), 64, "area")
    assert square.shape == (64, 64)


def test_padding_is_as_dark_as_the_scans_own_background():
    pixels = np.full((40, 60), 12, np.uint8)
    pixels[10:30, 20:60] = 220  # the head touches one border
    assert background_level(pixels) == 12


def test_a_white_frame_does_not_set_the_padding():
    pixels = np.full((40, 60), 12, np.uint8)
    pixels[[0, -1]] = pixels[:, [0, -1]] = 255
    assert background_level(pixels) == 12


def test_rotation_is_the_studys(pixels_u8):
    np.testing.assert_array_equal(rotate(pixels_u8, 7), ndimage.rotate(pixels_u8, 7, reshape=False))
    assert rotate(pixels_u8, -9).shape == pixels_u8.shape
    np.testing.assert_array_equal(rotate(pixels_u8, 0), pixels_u8)


def test_mirroring_twice_gives_the_image_back(pixels_u8):
    once = mirror(pixels_u8, horizontal=True, vertical=False)
    assert (once[0] == pixels_u8[0, ::-1]).all()
    np.testing.assert_array_equal(mirror(once, horizontal=True, vertical=False), pixels_u8)
    upside_down = mirror(pixels_u8, horizontal=False, vertical=True)
    np.testing.assert_array_equal(upside_down, pixels_u8[::-1])


def test_lanczos_does_not_alias():
    """Fine stripes average to gray when an image shrinks fourfold; sampling would keep some of them."""
    stripes = np.tile(np.array([[0, 255]], np.uint8), (256, 128))
    assert np.ptp(resize(stripes, 64, 64, "lanczos")[:, 4:-4].astype(int)) < 30
