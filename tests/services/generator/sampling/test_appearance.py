import numpy as np
import pytest
from scipy import linalg

from services.evaluator.metrics.frechet import frechet_distance as evaluators_distance
from services.generator.images import ImageU8
from services.generator.sampling.appearance import AppearanceSpace, frechet_distance, real_floor
from tests.services.generator.micro import draw_images


def draw_noisy(n: int, seed: int) -> ImageU8:
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 6, (n, 32, 32)).cumsum(axis=2) / 3
    return np.clip(draw_images(n, 32, seed) + noise, 0, 255).astype(np.uint8)


TRAINING = draw_noisy(300, 0)
SPACE = AppearanceSpace(TRAINING)
REAL = SPACE.describe(TRAINING)


def test_the_distance_is_the_closed_form_of_two_gaussians() -> None:
    """Heusel et al. 2017, eq. 6, with scipy's matrix root; and the evaluator's, which never forms one."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)), rng.normal(1, 2, (150, 6))
    s_a, s_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    difference = a.mean(axis=0) - b.mean(axis=0)
    expected = difference @ difference + np.trace(s_a + s_b - 2 * linalg.sqrtm(s_a @ s_b).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(a, b) == pytest.approx(evaluators_distance(a, b), rel=1e-9)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)


def test_equal_sets_are_at_zero_and_a_shift_adds_its_square() -> None:
    assert frechet_distance(REAL, REAL) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(REAL + 0.5, REAL) == pytest.approx(0.25 * REAL.shape[1], rel=1e-6)


def test_training_images_have_mean_zero_and_deviation_one() -> None:
    np.testing.assert_allclose(REAL.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(REAL.std(axis=0), 1, atol=1e-9)
    assert REAL.shape == (300, 24)


def test_noise_blur_and_wrong_places_are_farther_than_real_images() -> None:
    floor, fresh = real_floor(REAL, 64), draw_noisy(64, 1)
    rng = np.random.default_rng(2)
    noisy = np.clip(fresh + rng.normal(0, 6, fresh.shape), 0, 255).astype(np.uint8)
    blurred = ((fresh.astype(int) + np.roll(fresh, 1, 1) + np.roll(fresh, 1, 2)) // 3).astype(np.uint8)
    mirrored = np.ascontiguousarray(fresh[:, :, ::-1])
    assert frechet_distance(SPACE.describe(fresh), REAL) < 1.2 * floor
    for faulty in (noisy, blurred, mirrored):
        assert frechet_distance(SPACE.describe(faulty), REAL) > 1.5 * floor


def test_the_floor_falls_with_n_and_small_sets_have_one() -> None:
    assert real_floor(REAL, 40) > real_floor(REAL, 80) > real_floor(REAL, 150)
    few = AppearanceSpace(TRAINING[:9])
    assert np.isfinite(real_floor(few.describe(TRAINING[:9]), 64))
