"""The kernel distance against its definition, its expectation and torch-fidelity."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from services.evaluator.metrics.kernel_distance import (
    default_subset_size,
    jackknife_error,
    kernel_distance,
    polynomial_kernel,
    unbiased_mmd2,
)
from services.evaluator.metrics.samples import TooFewImages


def draw(n: int, d: int, seed: int, shift: float = 0.0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(n, d)) + shift


def kernels(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    return polynomial_kernel(x, x), polynomial_kernel(y, y), polynomial_kernel(x, y)


def test_value_is_the_double_sum_of_its_definition() -> None:
    x, y = draw(7, 3, 1), draw(5, 3, 2, shift=1.0)

    def k(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        return float((a @ b / 3 + 1) ** 3)

    within_x = sum(k(x[i], x[j]) for i in range(7) for j in range(7) if i != j) / (7 * 6)
    within_y = sum(k(y[i], y[j]) for i in range(5) for j in range(5) if i != j) / (5 * 4)
    across = sum(k(a, b) for a in x for b in y) / (7 * 5)
    assert kernel_distance(x, y).value == pytest.approx(within_x + within_y - 2 * across, rel=1e-12)


def test_it_is_unbiased_where_the_distributions_are_equal() -> None:
    # 300 independent estimates of 0; their mean is within four of its own standard errors, at every n.
    for n1, n2 in ((6, 6), (6, 40), (50, 50)):
        values = [unbiased_mmd2(*kernels(draw(n1, 8, s), draw(n2, 8, 10_000 + s))) for s in range(300)]
        assert abs(np.mean(values)) < 4 * np.std(values, ddof=1) / np.sqrt(300)
        assert min(values) < 0 < max(values)


def test_linear_part_has_a_closed_form() -> None:
    # One feature, x = +-1 and y = m +- 1 in equal parts: E k(x,x') = E (xx'+1)^3 over independent signs, here from
    # 10,000 rows whose pairs are exhausted up to 1/n: E (xx' + 1)^3 = (8 + 0)/2 = 4; with m: mean over the four sign
    # pairs.
    n, m = 10_000, 0.5
    signs = np.tile([-1.0, 1.0], n // 2)[:, None]
    shifted = signs + m
    pairs = [(a, b) for a in (-1.0, 1.0) for b in (-1.0, 1.0)]
    within_x = np.mean([(a * b + 1) ** 3 for a, b in pairs])
    within_y = np.mean([((a + m) * (b + m) + 1) ** 3 for a, b in pairs])
    across = np.mean([(a * (b + m) + 1) ** 3 for a, b in pairs])
    value = unbiased_mmd2(*kernels(signs[:2000], shifted[:2000]))
    # Leaving out the diagonal moves each within-term by at most max k / n = (1.5^2 + 1)^3 / 2000 = 0.017.
    assert value == pytest.approx(within_x + within_y - 2 * across, abs=0.035)


def test_equals_torch_fidelity() -> None:
    from torch_fidelity.metric_kid import kid_features_to_metric

    x, y = draw(60, 32, 1), draw(90, 32, 2, shift=0.3)
    expected = kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=20, kid_subset_size=25, rng_seed=2020, verbose=False
    )
    found = kernel_distance(x, y, subset_size=25, n_subsets=20, seed=2020)
    assert found.subset_mean == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-9)
    assert found.subset_sd == pytest.approx(expected["kernel_inception_distance_std"], rel=1e-9)


def test_the_order_of_the_arguments_is_generated_then_reference() -> None:
    # The value is symmetric, the subsets' draws are not: torch-fidelity draws the generated rows first.
    from torch_fidelity.metric_kid import kid_features_to_metric

    collapsed, varied = np.repeat(draw(3, 8, 1), 20, axis=0), draw(90, 8, 2)
    expected = kid_features_to_metric(
        torch.from_numpy(collapsed),
        torch.from_numpy(varied),
        kid_subsets=5,
        kid_subset_size=10,
        rng_seed=1,
        verbose=False,
    )["kernel_inception_distance_mean"]
    options = {"subset_size": 10, "n_subsets": 5, "seed": 1}
    assert kernel_distance(collapsed, varied, **options).subset_mean == pytest.approx(expected, rel=1e-9)
    assert kernel_distance(varied, collapsed, **options).subset_mean != pytest.approx(expected, rel=1e-6)
    assert kernel_distance(varied, collapsed).value == pytest.approx(kernel_distance(collapsed, varied).value)


def test_mode_collapse_is_seen() -> None:
    varied, other, collapsed = draw(80, 8, 1), draw(80, 8, 2), np.repeat(draw(2, 8, 3), 40, axis=0)
    assert kernel_distance(collapsed, varied).value > 10 * abs(kernel_distance(other, varied).value)


def test_jackknife_is_leaving_out_each_row() -> None:
    x, y = draw(9, 4, 1), draw(12, 4, 2, shift=0.4)

    def spread(left_out: list[float]) -> float:
        n = len(left_out)
        return (n - 1) / n * float(((np.array(left_out) - np.mean(left_out)) ** 2).sum())

    over_x = [unbiased_mmd2(*kernels(np.delete(x, i, axis=0), y)) for i in range(9)]
    over_y = [unbiased_mmd2(*kernels(x, np.delete(y, i, axis=0))) for i in range(12)]
    assert jackknife_error(*kernels(x, y)) == pytest.approx(np.sqrt(spread(over_x) + spread(over_y)), rel=1e-9)


def test_jackknife_error_is_the_spread_over_fresh_samples() -> None:
    # Away from equality the estimate is asymptotically normal; two standard deviations from 150 draws agree within 4
    # x 8 %.
    fresh = [unbiased_mmd2(*kernels(draw(100, 4, s), draw(120, 4, 9000 + s, shift=0.7))) for s in range(150)]
    errors = [jackknife_error(*kernels(draw(100, 4, s), draw(120, 4, 9000 + s, shift=0.7))) for s in range(150)]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(fresh, ddof=1), rel=0.32)


def test_subsets_are_half_of_the_smaller_side() -> None:
    assert default_subset_size(600, 867) == 300
    assert default_subset_size(5000, 9000) == 1000
    assert default_subset_size(2, 3) == 2


def test_two_images_are_enough_and_one_is_not() -> None:
    x = draw(2, 4, 1)
    assert np.isfinite(kernel_distance(x, draw(3, 4, 2)).value)
    assert np.isnan(kernel_distance(x, draw(3, 4, 2)).standard_error)
    with pytest.raises(TooFewImages):
        kernel_distance(x[:1], x)
