"""Intervals contain what they should, and halves share no image."""

import numpy as np
import pytest

from services.evaluator.metrics.confidence import affordable_resamples, centred_interval, normal_interval, split_halves
from services.evaluator.metrics.frechet import frechet_distance, resampled_frechet_distances
from services.evaluator.metrics.samples import TooFewImages


def test_the_centred_interval_contains_the_value_where_the_plain_one_does_not() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 60)), rng.normal(size=(50, 60))
    value = frechet_distance(x, y)
    resampled = resampled_frechet_distances(x, y, n_resamples=60, seed=0)
    interval = centred_interval(value, resampled, lowest=0.0)
    assert value < np.percentile(resampled, 2.5)
    assert interval.low < value < interval.high


def test_the_interval_stays_above_the_lowest_possible_value() -> None:
    assert centred_interval(0.1, np.array([0.0, 1.0, 2.0]), lowest=0.0).low == 0.0


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
