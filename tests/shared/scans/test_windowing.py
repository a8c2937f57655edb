"""Windows against the formulas of the standard, written out again in plain Python."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.scans.errors import ScanNotFinite
from shared.scans.windowing import Window, find_window, render

CENTRES = st.floats(-3000, 3000)
LEVELS = st.floats(-5000, 5000)


def linear(x, c, w):
    """DICOM PS3.3 section C.11.2.1.2.1, as pseudo-code there, ymin = 0, ymax = 255."""
    if x <= c - 0.5 - (w - 1) / 2:
        return 0.0
    if x > c - 0.5 + (w - 1) / 2:
        return 255.0
    return ((x - (c - 0.5)) / (w - 1) + 0.5) * 255.0


@given(level=LEVELS, centre=CENTRES, width=st.floats(1.001, 5000))
def test_linear_is_the_standards(level, centre, width):
    shown = Window(centre, width, "LINEAR", "tag").map_levels(np.array([level]))[0]
    assert abs(float(shown) - linear(level, centre, width)) <= 0.5 + 1e-6


def test_linear_of_width_one_is_a_threshold():
    np.testing.assert_array_equal(
        Window(10, 1, "LINEAR", "tag").map_levels(np.array([9, 9.5, 9.6, 10])), [0, 0, 255, 255]
    )


def test_the_standards_own_example():
    """PS3.3 C.11.2.1.2.1: centre 2048 and width 4096 map 0..4095 onto the whole range, 0 and 100 map -50..49."""
    np.testing.assert_array_equal(
        Window(2048, 4096, "LINEAR", "tag").map_levels(np.array([-1, 0, 4095, 4096])), [0, 0, 255, 255]
    )
    np.testing.assert_array_equal(Window(0, 100, "LINEAR", "tag").map_levels(np.array([-50.0, 49.0])), [0, 255])


@given(level=LEVELS, centre=CENTRES, width=st.floats(0.01, 5000))
def test_exact_and_sigmoid(level, centre, width):
    exact = 255 * min(1.0, max(0.0, (level - centre) / width + 0.5))
    shown = Window(centre, width, "LINEAR_EXACT", "tag").map_levels(np.array([level]))[0]
    assert abs(float(shown) - exact) <= 0.5 + 1e-6
    sigmoid = 255 / (1 + math.exp(min(700.0, -4 * (level - centre) / width)))
    shown = Window(centre, width, "SIGMOID", "tag").map_levels(np.array([level]))[0]
    assert abs(float(shown) - sigmoid) <= 0.5 + 1e-6


@given(slope=st.sampled_from([-2.0, -0.1, 0.5, 1.0, 7.0]), intercept=st.floats(-1000, 1000))
def test_rescaling_moves_the_window_along(slope, intercept):
    """A picture windowed by its own percentiles does not depend on its units; a negative slope inverts it."""
    stored = np.random.default_rng(0).integers(0, 4096, (40, 50)).astype(np.uint16)
    plain = render(stored, find_window(stored))
    shown = render(stored, find_window(stored, slope, intercept), slope, intercept)
    expected = plain.astype(int) if slope > 0 else 255 - plain.astype(int)
    assert np.abs(shown.astype(int) - expected).max() <= 1


def test_outliers_do_not_darken_the_picture():
    stored = np.tile(np.arange(1000, dtype=np.int32), (100, 1))
    stored[0, :10] = 1_000_000
    window = find_window(stored)
    assert window.centre + window.width / 2 == pytest.approx(995, abs=1)


def test_levels_that_nearly_all_agree_take_the_whole_range():
    stored = np.zeros((100, 100), np.uint8)
    stored[3, 3] = 9
    window = find_window(stored)
    assert (window.source, window.centre, window.width) == ("range", 4.5, 9.0)
    assert render(stored, window).max() == 255


def test_constant_levels_are_black():
    stored = np.full((20, 20), 700, np.uint16)
    assert render(stored, find_window(stored)).max() == 0


def test_levels_beyond_numbers_are_refused():
    with pytest.raises(ScanNotFinite):
        find_window(np.array([[-1e308, 1e308]]), slope=1e10)


@pytest.mark.parametrize("dtype", [">i2", "<u4", "f4", "f8", "i8", "u1"])
def test_blocks_of_rows_change_nothing(dtype):
    stored = np.random.default_rng(1).integers(0, 120, (700, 16)).astype(dtype)
    window = find_window(stored)
    np.testing.assert_array_equal(render(stored, window), window.map_levels(stored))
