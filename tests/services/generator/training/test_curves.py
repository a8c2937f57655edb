import json

import pytest

from services.generator.training.curves import (
    Losses,
    Measurement,
    count_images,
    is_lowest,
    mean_per_epoch,
    stopped_improving,
    write_curves,
)
from tests.services.generator.micro import MICRO


def test_each_image_counts_once_in_an_epochs_mean_and_open_epochs_do_not_count() -> None:
    assert mean_per_epoch([1.0, 2.0, 6.0, 0.0, 0.0, 10.0, 99.0], 10, 4) == pytest.approx([2.4, 2.0])
    assert mean_per_epoch([1.0], 10, 4) == []


def test_images_are_counted_with_a_smaller_last_batch() -> None:
    assert [count_images(n, MICRO, 10) for n in range(5)] == [0, 4, 8, 10, 14]


def test_curves_are_json_with_one_entry_an_epoch() -> None:
    losses = [Losses(float(k), k / 2) for k in range(9)]
    curves = write_curves(losses, [Measurement(2, 30.0, 0.5, 0.25)], MICRO, 10)
    assert json.loads(json.dumps(curves)) == curves
    assert [len(curves[name]) for name in ("epoch", "loss", "weighted_loss", "learning_rate")] == [3] * 4
    assert curves["weighted_loss"] == pytest.approx([loss / 2 for loss in curves["loss"]])
    assert curves["learning_rate"][-1] == MICRO.learning_rate_at(8, 9) < curves["learning_rate"][0]
    assert curves["measurements"][0]["average_validation_loss"] == 0.25


def test_patience_counts_validations_since_the_best_of_the_weights_that_sample() -> None:
    falling = [Measurement(k, 1.0, 1.0, 1 / k) for k in range(1, 6)]
    assert not stopped_improving(falling, 1)
    risen = [*falling, Measurement(6, 1.0, 0.1, 0.5), Measurement(7, 1.0, 0.05, 0.2)]
    assert [stopped_improving(risen, patience) for patience in (1, 2, 3, None)] == [True, True, False, False]
    assert not stopped_improving([Measurement(1, 1.0)] * 5, 1)
    assert not stopped_improving([], 1)


NAN, INF = float("nan"), float("inf")


def test_validation_losses_that_are_no_numbers_are_none_in_curves() -> None:
    measured = [Measurement(1, 30.0, NAN, 0.25), Measurement(2, 30.0, 0.5, INF)]
    curves = write_curves([Losses(1.0, 1.0)] * 6, measured, MICRO, 10)
    json.dumps(curves, allow_nan=False)
    losses = [(each["validation_loss"], each["average_validation_loss"]) for each in curves["measurements"]]
    assert losses == [(None, 0.25), (0.5, None)]


def test_a_validation_that_is_no_number_is_never_the_best() -> None:
    assert [is_lowest(0.5, earlier) for earlier in ([], [None], [NAN], [INF, 0.6], [NAN, 0.4])] == [True] * 4 + [False]
    assert not any(is_lowest(loss, []) for loss in (NAN, INF))


@pytest.mark.parametrize("no_number", [NAN, INF])
def test_a_validation_that_is_no_number_counts_as_one_without_a_lower_loss(no_number: float) -> None:
    losses = [no_number, 0.5, no_number, no_number]
    measurements = [Measurement(k, 1.0, 0.1, loss) for k, loss in enumerate(losses, 1)]
    assert [stopped_improving(measurements, patience) for patience in (1, 2, 3)] == [True, True, False]
    assert not stopped_improving(measurements[:2], 1)
    assert not stopped_improving(measurements[:1] * 3, 1)  # no loss to be lower than
