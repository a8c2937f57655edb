"""The Inception Score against its closed forms and torch-fidelity."""

import numpy as np
import pytest
import torch

from services.evaluator.metrics.inception_score import (
    ProbabilitiesWrong,
    inception_score,
    resampled_inception_scores,
    softmax,
)
from services.evaluator.metrics.samples import TooFewImages


@pytest.mark.parametrize("n_classes", [2, 4, 1008])
def test_undecided_predictions_score_one(n_classes: int) -> None:
    assert inception_score(np.full((50, n_classes), 1 / n_classes)).value == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("n_classes", [2, 4, 1008])
def test_sure_predictions_of_all_classes_score_their_number(n_classes: int) -> None:
    assert inception_score(np.eye(n_classes)).value == pytest.approx(n_classes, rel=1e-12)


def test_sure_predictions_of_one_class_score_one() -> None:
    assert inception_score(np.tile([1.0, 0, 0, 0], (20, 1))).value == pytest.approx(1.0, rel=1e-12)


def test_logarithms_are_natural() -> None:
    # Two mirrored predictions (p, 1 - p): the marginal is (1/2, 1/2), so IS = exp(ln 2 - H(p)) with H in nats.
    p = 0.9
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    value = inception_score(np.tile([[p, 1 - p], [1 - p, p]], (10, 1))).value
    assert value == pytest.approx(np.exp(np.log(2) - entropy), rel=1e-12)
    assert value != pytest.approx(np.exp((np.log(2) - entropy) / np.log(2)), rel=1e-3)  # bits instead of nats


def test_equals_torch_fidelity() -> None:
    from torch_fidelity.metric_isc import isc_features_to_metric

    logits = np.random.default_rng(0).normal(scale=3, size=(105, 17))
    expected = isc_features_to_metric(torch.from_numpy(logits), splits=10, shuffle=True, rng_seed=2020)
    found = inception_score(softmax(logits), n_splits=10, seed=2020)
    assert found.split_mean == pytest.approx(expected["inception_score_mean"], rel=1e-9)
    assert found.split_sd == pytest.approx(expected["inception_score_std"], rel=1e-9)
    whole = isc_features_to_metric(torch.from_numpy(logits), splits=1, shuffle=False)
    assert found.value == pytest.approx(whole["inception_score_mean"], rel=1e-9)


def test_fewer_images_than_splits_give_fewer_splits() -> None:
    assert inception_score(np.eye(4)).n_splits == 2


def test_resamples_lie_between_one_and_the_number_of_classes() -> None:
    p = softmax(np.random.default_rng(0).normal(scale=4, size=(60, 5)))
    values = resampled_inception_scores(p, n_resamples=30, seed=0)
    assert values.min() > 1
    assert values.max() < 5


def test_softmax_keeps_large_logits_finite() -> None:
    assert softmax(np.array([[1000.0, 1000.0], [0.0, -1000.0]])).tolist() == [[0.5, 0.5], [1.0, 0.0]]


def test_refusals() -> None:
    with pytest.raises(ProbabilitiesWrong):
        inception_score(np.random.default_rng(0).normal(size=(9, 4)))
    with pytest.raises(ProbabilitiesWrong):
        inception_score(np.full((9, 4), 0.5))
    with pytest.raises(TooFewImages):
        inception_score(np.array([[1.0, 0.0]]))
