"""The Inception Score of one set of images, from the class probabilities of a network.

IS = exp(E_x KL(p(y|x) || p(y))), Salimans et al. 2016 (arXiv:1606.03498), section 4, with the natural logarithm
throughout. It looks at the synthetic images alone, so that it cannot see whether they resemble the real ones; the
same score of the real images stands beside it in a report.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from services.evaluator.metrics.samples import check_features
from shared.errors import InvalidInput
from shared.progress import NoProgress, Progress

Probabilities = NDArray[np.float64]
"""(n, c) float64 in [0, 1], each row sums to 1: p(y|x) of each image."""

N_SPLITS = 10
"""Parts the images are cut into for mean and spread: Salimans et al. 2016, and torch-fidelity's default."""


class ProbabilitiesWrong(InvalidInput):
    """The rows are not probability distributions over classes."""


@dataclass(frozen=True)
class InceptionScore:
    """An Inception Score with its spread over splits.

    Attributes:
        value: the score of all images together, between 1 and the number of classes.
        split_mean: mean of the scores of the splits; lower than `value`, the more so the fewer images a split has.
        split_sd: standard deviation of the scores of the splits.
        n_splits: number of splits.
    """

    value: float
    split_mean: float
    split_sd: float
    n_splits: int


def inception_score(probabilities: Probabilities, *, n_splits: int = N_SPLITS, seed: int = 0) -> InceptionScore:
    """The Inception Score of a set, of all its images and over shuffled splits.

    Args:
        probabilities: (n, c) float64 in [0, 1], rows sum to 1.
        n_splits: number of splits; fewer when there are fewer than two images for each.
        seed: of the shuffling before the cut; torch-fidelity's draw, so that equal probabilities and seed give its
            numbers.

    Raises:
        TooFewImages: n < 2.
        ProbabilitiesWrong: the rows do not sum to 1 or are negative.
    """
    p = _check_probabilities(probabilities)
    n = len(p)
    n_splits = max(1, min(n_splits, n // 2))
    shuffled = p[np.random.RandomState(seed).permutation(n)]
    bounds = [i * n // n_splits for i in range(n_splits + 1)]
    scores = [_score(shuffled[low:high]) for low, high in pairwise(bounds)]
    return InceptionScore(
        value=_score(p), split_mean=float(np.mean(scores)), split_sd=float(np.std(scores)), n_splits=n_splits
    )


def resampled_inception_scores(
    probabilities: Probabilities, *, n_resamples: int, seed: int, progress: Progress | None = None
) -> NDArray[np.float64]:
    """Inception Scores of bootstrap resamples of the images: (n_resamples,) float64.

    Args:
        probabilities: (n, c) float64 in [0, 1], rows sum to 1.
        n_resamples: how many resamples of n images to draw, with replacement.
        seed: of the draws.
        progress: asked once per resample whether to go on.
    """
    p = _check_probabilities(probabilities)
    progress = progress or NoProgress()
    rng = np.random.default_rng(seed)
    values = np.empty(n_resamples)
    for k in range(n_resamples):
        progress.raise_if_cancelled()
        values[k] = _score(p[rng.integers(len(p), size=len(p))])
    return values


def softmax(logits: NDArray[np.floating]) -> Probabilities:
    """Probabilities (n, c) float64 from logits (n, c), unbounded, in float64 so that small ones keep their digits."""
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = shifted - shifted.max(axis=1, keepdims=True)
    e = np.exp(shifted)
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def _check_probabilities(probabilities: Probabilities) -> Probabilities:
    p = check_features(probabilities, "synthetic")
    # A float32 softmax over 1,008 classes is off by up to 1,008 x 6e-8; 1e-3 leaves room and still catches logits.
    if p.min() < 0 or np.abs(p.sum(axis=1) - 1).max() > 1e-3:
        raise ProbabilitiesWrong("Each row must hold the probabilities of one image over all classes and sum to 1.")
    return p


def _score(p: Probabilities) -> float:
    """exp(mean_i sum_y p(y|x_i) (ln p(y|x_i) - ln p(y))), with 0 ln 0 = 0."""
    marginal = p.mean(axis=0)
    # H(marginal) - mean H(p_i) equals the mean Kullback-Leibler divergence and needs no logarithm of a zero.
    return float(np.exp(_entropy(marginal) - _entropy(p) / len(p)))


def _entropy(p: NDArray[np.float64]) -> float:
    """-sum p ln p in nats over all entries, with 0 ln 0 = 0."""
    positive = p[p > 0]
    return float(-(positive * np.log(positive)).sum())
