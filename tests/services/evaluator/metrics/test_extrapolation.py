"""The Fréchet distance at infinite n: the bias goes, the interval covers, and the line is the one of the paper."""

import numpy as np
import pytest
from numpy.typing import NDArray

from services.evaluator.metrics.extrapolation import N_POINTS, extrapolate_distance
from services.evaluator.metrics.frechet import frechet_distance
from services.evaluator.metrics.samples import TooFewImages
from shared.progress import Cancelled, NoProgress


def pair(seed: int, shift: float, n1: int = 400, n2: int = 500, d: int = 8) -> tuple[NDArray[np.float64], ...]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n1, d)) + shift, rng.normal(size=(n2, d))


def test_the_bias_goes_at_equal_distributions() -> None:
    # The true distance is 0. Over 20 draws the plain distance is far above it, the extrapolated one is not.
    plain = [frechet_distance(*pair(seed, 0.0)) for seed in range(20)]
    found = [extrapolate_distance(*pair(seed, 0.0)).value for seed in range(20)]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(20) + 0.1 * np.mean(plain)
    assert abs(np.mean(found)) < 0.2 * np.mean(plain)
    assert min(plain) > 0 > min(found)


def test_the_closed_form_is_met_and_the_interval_covers_it() -> None:
    # N(0.5, I) against N(0, I) in 8 dimensions: the true distance is 8 x 0.25 = 2. A 95 % interval misses at most 5
    # of 30 draws (probability 0.997).
    found = [extrapolate_distance(*pair(seed, 0.5)) for seed in range(30)]
    values = np.array([one.value for one in found])
    assert values.mean() == pytest.approx(2.0, abs=4 * values.std() / np.sqrt(30) + 0.02)
    assert sum(abs(one.value - 2.0) > 2.262157 * one.standard_error for one in found) <= 5


def test_the_points_lie_on_their_line_and_end_at_the_plain_distance() -> None:
    x, y = pair(1, 0.0, n1=1000, n2=800, d=20)
    found = extrapolate_distance(x, y)
    assert len(found.points) == N_POINTS
    assert found.points[-1] == (1000, 800, pytest.approx(frechet_distance(x, y), rel=1e-9))
    assert found.points[0][:2] == (200, 160)
    assert found.r2 > 0.9
    assert found.value + found.slope == pytest.approx(frechet_distance(x, y), rel=0.1)


def test_same_seed_same_value_and_symmetry_of_roles() -> None:
    x, y = pair(1, 0.2, n1=60, n2=80)
    assert extrapolate_distance(x, y, seed=3) == extrapolate_distance(x, y, seed=3)
    assert extrapolate_distance(x, y, seed=3).value != extrapolate_distance(x, y, seed=4).value


def test_refusals_and_cancelling() -> None:
    x, y = pair(1, 0.0, n1=19, n2=40)
    with pytest.raises(TooFewImages, match="synthetic side has 19"):
        extrapolate_distance(x, y)

    class Stop(NoProgress):
        def raise_if_cancelled(self) -> None:
            raise Cancelled

    with pytest.raises(Cancelled):
        extrapolate_distance(*pair(1, 0.0), progress=Stop())
