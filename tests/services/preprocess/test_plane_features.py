"""The plane feature: what it does not see (side, light, margin, size) and what it must."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.preprocess.plane_features import N_FEATURES, find_head, percentiles, plane_features


def draw_head(height: int = 160, width: int = 120, face: bool = True) -> np.ndarray:
    """(220, 220) uint8: an ellipse with a bright rim and a darker ventricle, and on demand a face on its left side."""
    pixels = np.zeros((220, 220), np.uint8)
    cv2.ellipse(pixels, (110, 105), (width // 2, height // 2), 0, 0, 360, 200, -1)
    cv2.ellipse(pixels, (110, 105), (width // 2 - 8, height // 2 - 8), 0, 0, 360, 90, -1)
    cv2.ellipse(pixels, (110, 95), (10, 25), 0, 0, 360, 30, -1)
    if face:
        cv2.rectangle(pixels, (35, 120), (70, 190), 150, -1)
    return pixels


def measure_distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sum((plane_features(a) - plane_features(b)) ** 2))


@pytest.fixture
def head_u8() -> np.ndarray:
    return draw_head()


def test_gradients_have_length_one_and_the_last_value_is_the_aspect(head_u8):
    features = plane_features(head_u8)
    assert features.shape == (N_FEATURES,)
    assert features.dtype == np.float32
    assert (features[:-1] >= 0).all()
    assert np.linalg.norm(features[:-1]) == pytest.approx(1, abs=1e-5)
    _, _, width, height = find_head(head_u8)
    assert features[-1] == pytest.approx(0.5 * np.log(width / height), abs=1e-6)


def test_a_mirror_image_is_the_same(head_u8):
    # Cells and bins are symmetric, so only the rounding of the head's box to whole pixels remains.
    assert measure_distance(head_u8, head_u8[:, ::-1].copy()) < 0.01
    assert measure_distance(head_u8, draw_head(face=False)) > 0.05


def test_turning_the_head_over_is_not_the_same(head_u8):
    assert measure_distance(head_u8, head_u8[::-1].copy()) > 0.05


@pytest.mark.parametrize(
    ("changed", "largest"),
    [
        (lambda pixels: pixels // 3, 0.02),
        (lambda pixels: np.pad(pixels, ((40, 0), (10, 90))), 0.01),
        (lambda pixels: cv2.resize(pixels, (512, 512), interpolation=cv2.INTER_LINEAR), 0.02),
        (lambda pixels: np.maximum(pixels, 25), 0.02),
        (lambda pixels: cv2.rectangle(pixels.copy(), (0, 0), (219, 219), 255, 1), 0.02),
    ],
    ids=["darker", "wider canvas", "larger", "gray canvas", "framed"],
)  # fmt: skip
def test_light_canvas_and_size_hardly_matter(head_u8, changed, largest):
    assert measure_distance(head_u8, changed(head_u8)) < largest


def test_the_head_is_found_in_a_larger_canvas(head_u8):
    x, y, width, height = find_head(np.pad(head_u8, ((100, 0), (0, 100))))
    assert abs(x - 35) <= 4
    assert abs(y - 125) <= 4
    assert abs(x + width - 171) <= 4
    assert abs(y + height - 291) <= 4


@pytest.mark.parametrize("shape", [(16, 16), (16, 5000), (5000, 16), (1, 1), (3, 700), (512, 512)])
@pytest.mark.parametrize("level", [0, 255])
def test_an_even_image_of_any_shape_has_no_gradients(shape, level):
    features = plane_features(np.full(shape, level, np.uint8))
    assert not features[:-1].any()
    assert np.isfinite(features).all()


def test_noise_of_any_shape_gives_finite_features():
    rng = np.random.default_rng(0)
    for shape in ((16, 16), (17, 900), (900, 17), (301, 299)):
        assert np.isfinite(plane_features(rng.integers(0, 256, shape, dtype=np.uint8))).all()


def test_the_layout_in_memory_does_not_matter(head_u8):
    assert np.array_equal(plane_features(head_u8), plane_features(np.asfortranarray(head_u8)))


@given(st.lists(st.integers(0, 255), min_size=1, max_size=60), st.floats(0, 100))
def test_counted_percentiles_are_numpys(levels, share):
    pixels = np.array(levels, np.uint8)
    assert percentiles(pixels, (share,))[0] == pytest.approx(np.percentile(pixels, share), abs=1e-9)
