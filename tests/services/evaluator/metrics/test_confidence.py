"""Intervals contain what they should, and halves share no image."""

import numpy as np
import pytest

from services.evaluator.metrics.confidence import (
    MANY_RESAMPLES,
    affordable_resamples,
    centred_interval,
    normal_interval,
    split_halves,
    student_quantile,
)
from services.evaluator.metrics.frechet import frechet_distance, resampled_frechet_distances
from services.evaluator.metrics.samples import TooFewImages


def test_the_centred_interval_contains_the_value_where_the_plain_one_does_not() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 60)), rng.normal(size=(50, 60))
    value = frechet_distance(x, y)
    resampled = resampled_frechet_distances(x, y, n_resamples=MANY_RESAMPLES, seed=0)
    interval = centred_interval(value, resampled, lowest=0.0)
    assert value < np.percentile(resampled, 2.5)
    assert interval.low < value < interval.high


def test_the_interval_stays_above_the_lowest_possible_value() -> None:
    assert centred_interval(0.1, np.array([0.0, 1.0, 2.0]), lowest=0.0).low == 0.0


@pytest.mark.parametrize("n_resamples", [20, 50, MANY_RESAMPLES])
def test_intervals_hold_the_truth_in_ninety_five_of_a_hundred_cases_however_few_the_resamples(n_resamples: int) -> None:
    # A score of mean 9 and standard error 1, whose resamples lie two too high, as the bias of a bootstrap has them.
    rng = np.random.default_rng(n_resamples)
    covered = []
    for value in rng.normal(9, 1, 2000):
        interval = centred_interval(value, rng.normal(value + 2, 1, n_resamples), lowest=0.0)
        covered.append(interval.low <= 9 <= interval.high)
    # A share of 2,000 has a standard error of 0.005 at 0.95; percentiles of 200 lose half a hundredth of their own.
    assert 0.93 < np.mean(covered) < 0.97


def test_an_interval_says_how_it_was_found() -> None:
    few, many = np.arange(20.0), np.arange(float(MANY_RESAMPLES))
    assert centred_interval(9.0, few, lowest=0.0).method == "bootstrap, 20 resamples, Student's t"
    assert centred_interval(9.0, many, lowest=0.0).method == "bootstrap, 200 resamples, centred on the value"
    halves = centred_interval(9.0, few, lowest=0.0, highest=10.0, method="delete-half jackknife, 20 random halves")
    assert halves.method == "delete-half jackknife, 20 random halves, Student's t"
    assert (halves.low, halves.high) == (0.0, 10.0)


def test_students_quantile_nears_that_of_the_normal_distribution() -> None:
    # Cauchy's distribution, of one degree of freedom: tan(0.475 pi).
    assert student_quantile(1) == pytest.approx(np.tan(0.475 * np.pi))
    assert student_quantile(1) > student_quantile(2.5) > student_quantile(19) > student_quantile(1e7)
    assert student_quantile(1e7) == pytest.approx(1.959964, abs=1e-5)


def test_the_normal_interval_is_two_errors_wide_each_way() -> None:
    interval = normal_interval(1.0, 0.5, "jackknife")
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((1 - 0.98, 1 + 0.98), abs=1e-4)
    assert normal_interval(1.0, float("nan"), "jackknife") is None


def test_halves_are_disjoint_complete_and_seeded() -> None:
    first, second = split_halves(11, seed=3)
    assert sorted([*first, *second]) == list(range(11))
    assert np.array_equal(first, split_halves(11, seed=3)[0])
    assert not np.array_equal(first, split_halves(11, seed=4)[0])
    with pytest.raises(TooFewImages):
        split_halves(3, seed=0)


def test_resamples_get_fewer_as_they_get_dearer() -> None:
    assert affordable_resamples(600, 867) > affordable_resamples(1500, 1500) > affordable_resamples(5000, 5000) > 1
