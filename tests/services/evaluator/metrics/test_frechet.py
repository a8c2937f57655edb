"""The Fréchet distance against its closed forms and three other implementations."""

import time

import numpy as np
import pytest
import scipy
import torch
from numpy.typing import NDArray
from scipy.linalg import sqrtm

from services.evaluator.metrics.frechet import draw_multiplicities, frechet_distance, resampled_frechet_distances
from services.evaluator.metrics.samples import FeaturesNotFinite, FeatureSpacesDiffer, TooFewImages
from shared.progress import Cancelled, NoProgress

SHAPES = [(300, 250, 32), (20, 30, 64), (25, 200, 64), (600, 90, 80)]
"""n1, n2, d: more rows than features, fewer, and one of each."""


def draw(n: int, d: int, seed: int, shift: float = 0.0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(d, d)) / np.sqrt(d)
    return rng.normal(size=(n, d)) @ mixing + shift


def whiten(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sample moved and turned so that its mean is 0 and its unbiased covariance is the identity, both exactly."""
    centred = x - x.mean(axis=0)
    return centred @ np.linalg.inv(np.linalg.cholesky(np.cov(centred, rowvar=False))).T


@pytest.mark.parametrize(("n1", "n2", "d"), SHAPES)
def test_identity_is_zero(n1: int, n2: int, d: int) -> None:
    x = draw(n1, d, seed=1)
    # Traces and singular values are each right to about d ulp of tr(S).
    assert frechet_distance(x, x) <= 1e-12 * d * np.trace(np.cov(x, rowvar=False))


@pytest.mark.parametrize(("n1", "n2", "d"), SHAPES)
def test_symmetry(n1: int, n2: int, d: int) -> None:
    x, y = draw(n1, d, seed=1), draw(n2, d, seed=2, shift=0.3)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-10)


@pytest.mark.parametrize(("n1", "n2", "d"), SHAPES)
def test_a_shift_adds_its_squared_length(n1: int, n2: int, d: int) -> None:
    x = draw(n1, d, seed=1)
    shift = np.linspace(-1, 2, d)
    assert frechet_distance(x, x + shift) == pytest.approx(shift @ shift, rel=1e-9)


def test_closed_form_of_axis_aligned_gaussians() -> None:
    # For diagonal covariances d^2 = |mu|^2 + sum (s1 - s2)^2; whitening makes the sample moments exact, so no
    # sampling error.
    d = 16
    s1, s2, mu = np.linspace(0.5, 3, d), np.linspace(2, 0.1, d), np.linspace(-1, 1, d)
    x, y = whiten(draw(200, d, seed=1)) * s1, whiten(draw(150, d, seed=2)) * s2 + mu
    assert frechet_distance(x, y) == pytest.approx(mu @ mu + ((s1 - s2) ** 2).sum(), rel=1e-9)


def test_closed_form_from_random_draws() -> None:
    # x ~ N(0, I), y ~ N(mu, I): d^2 = |mu|^2 = 32. The sample means' difference is mu + e, e ~ N(0, 2/n I): |mu|^2
    # is off by 2 mu.e with sd 2 |mu| sqrt(2/n) = 0.22, plus |e|^2 = 2d/n = 0.01 and a covariance bias of about
    # d^2/(4n) 2 = 0.03.
    n, d = 5000, 8
    rng = np.random.default_rng(0)
    value = frechet_distance(rng.normal(size=(n, d)), rng.normal(size=(n, d)) + 2.0)
    assert value == pytest.approx(32.0, abs=4 * 0.23 + 0.04)


def test_too_few_images_bias_it_upwards() -> None:
    rng = np.random.default_rng(0)
    large = frechet_distance(rng.normal(size=(2000, 32)), rng.normal(size=(2000, 32)))
    small = frechet_distance(rng.normal(size=(40, 32)), rng.normal(size=(40, 32)))
    assert small > 10 * large


@pytest.mark.parametrize(("n1", "n2", "d"), SHAPES)
def test_equals_the_matrix_square_root(n1: int, n2: int, d: int) -> None:
    x, y = draw(n1, d, seed=1), draw(n2, d, seed=2, shift=0.2)
    s1, s2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    # A rank-deficient product has no stable root: the eigenvalues that should be 0 are noise of 1e-16 whose roots
    # are 1e-8.
    root = sqrtm(s1 @ s2 + 1e-14 * np.eye(d))
    difference = x.mean(axis=0) - y.mean(axis=0)
    expected = difference @ difference + np.trace(s1) + np.trace(s2) - 2 * np.trace(root).real
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("n1", "n2", "d"), SHAPES)
def test_equals_torch_fidelity(n1: int, n2: int, d: int) -> None:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    x, y = draw(n1, d, seed=1), draw(n2, d, seed=2, shift=0.2)
    statistics = [fid_features_to_statistics(torch.from_numpy(features)) for features in (x, y)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)


@pytest.mark.skipif(
    tuple(map(int, scipy.__version__.split(".")[:2])) >= (1, 18), reason="MONAI's FID breaks on SciPy 1.18"
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_equals_monai() -> None:
    from monai.metrics.fid import get_fid_score

    x, y = draw(300, 32, seed=1), draw(250, 32, seed=2, shift=0.2)
    expected = float(get_fid_score(torch.from_numpy(x), torch.from_numpy(y)))
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)


def test_order_of_rows_does_not_matter() -> None:
    x, y = draw(60, 100, seed=1), draw(50, 100, seed=2)
    assert frechet_distance(x[::-1], y) == pytest.approx(frechet_distance(x, y), rel=1e-12)


def test_a_resample_is_the_distance_of_the_repeated_rows() -> None:
    x, y = draw(40, 12, seed=1), draw(30, 12, seed=2, shift=0.5)
    rng = np.random.default_rng(7)
    drawn = [draw_multiplicities(rng, 40), draw_multiplicities(rng, 30)]
    expected = frechet_distance(np.repeat(x, drawn[0], axis=0), np.repeat(y, drawn[1], axis=0))
    assert resampled_frechet_distances(x, y, n_resamples=1, seed=7)[0] == pytest.approx(expected, rel=1e-10)


def test_a_resample_of_fewer_images_than_features_is_too() -> None:
    # Here it comes from products of pairs of rows and eigenvalues: right to 1e-6.
    x, y = draw(40, 90, seed=1) * 3 + 20, draw(60, 90, seed=2, shift=20.5)
    rng = np.random.default_rng(7)
    drawn = [draw_multiplicities(rng, 40), draw_multiplicities(rng, 60)]
    expected = frechet_distance(np.repeat(x, drawn[0], axis=0), np.repeat(y, drawn[1], axis=0))
    assert resampled_frechet_distances(x, y, n_resamples=1, seed=7)[0] == pytest.approx(expected, rel=1e-6)


def test_resamples_do_not_depend_on_how_many_are_drawn() -> None:
    x, y = draw(40, 12, seed=1), draw(30, 12, seed=2)
    few, many = (resampled_frechet_distances(x, y, n_resamples=n, seed=3) for n in (2, 5))
    assert np.array_equal(few, many[:2])


def test_bootstrap_spread_is_the_spread_over_fresh_samples() -> None:
    # Relative error of a standard deviation from 100 draws is 1/sqrt(200) = 7 %, so two of them agree within 4 x 10 %.
    def sample(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rng = np.random.default_rng(seed)
        return rng.normal(size=(300, 4)), rng.normal(size=(300, 4)) + 1.0

    fresh = np.std([frechet_distance(*sample(seed)) for seed in range(100)], ddof=1)
    resampled = np.std(resampled_frechet_distances(*sample(1000), n_resamples=100, seed=0), ddof=1)
    assert resampled == pytest.approx(fresh, rel=0.4)


def test_six_hundred_against_867_images_take_under_half_a_second_of_two_cores() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(600, 2048)), rng.normal(size=(867, 2048))
    seconds = []
    for _ in range(3):
        # CPU time of all threads: it does not grow when other processes share the machine, as wall time does.
        started = time.process_time()
        frechet_distance(x, y)
        seconds.append(time.process_time() - started)
    assert min(seconds) < 2 * 0.5


def test_two_hundred_resamples_take_under_half_a_minute_of_two_cores() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(600, 2048)), rng.normal(size=(867, 2048))
    started = time.process_time()
    resampled_frechet_distances(x, y, n_resamples=20, seed=0)
    assert 10 * (time.process_time() - started) < 2 * 30


def test_refusals() -> None:
    x = draw(10, 4, seed=1)
    with pytest.raises(TooFewImages, match="at least 2"):
        frechet_distance(x[:1], x)
    with pytest.raises(FeatureSpacesDiffer, match="one extractor"):
        frechet_distance(x, x[:, :3])
    with pytest.raises(FeatureSpacesDiffer, match="shape"):
        frechet_distance(x[0], x)
    broken = x.copy()
    broken[3, 2] = np.nan
    with pytest.raises(FeaturesNotFinite, match="1 of 10 real images"):
        frechet_distance(x, broken)


def test_a_cancelled_bootstrap_stops() -> None:
    class CancelAtThird(NoProgress):
        asked = 0

        def raise_if_cancelled(self) -> None:
            self.asked += 1
            if self.asked == 3:
                raise Cancelled

    progress = CancelAtThird()
    with pytest.raises(Cancelled):
        resampled_frechet_distances(draw(9, 3, 1), draw(9, 3, 2), n_resamples=50, seed=0, progress=progress)
    assert progress.asked == 3
