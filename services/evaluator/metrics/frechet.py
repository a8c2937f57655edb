"""The Fréchet distance between two samples of features: FID when the features are Inception's.

    d^2 = |mu_1 - mu_2|^2 + tr(S_1) + tr(S_2) - 2 tr((S_1 S_2)^(1/2))

Heusel et al. 2017 (arXiv:1706.08500), eq. 6, after Dowson and Landau 1982 (doi:10.1016/0047-259X(82)90077-X), with
unbiased covariances S as in torch-fidelity and the reference TensorFlow code. The distance is symmetric: the order
of its arguments does not matter.
"""

import numpy as np
from numpy.typing import NDArray

from services.evaluator.metrics.samples import Features, check_pair
from shared.progress import NoProgress, Progress

MultiplicitiesInt = NDArray[np.int64]
"""(n,) int64 >= 0: how often each row was drawn; their sum is the size of the resample."""


def frechet_distance(generated: Features, reference: Features) -> float:
    """The Fréchet distance (squared, as FID is reported) between two samples; 0 for equal samples.

    It is biased upwards at small n, the more so the more features there are, so a value means nothing without its n.

    Args:
        generated: (n1, d) features, unbounded.
        reference: (n2, d) features, unbounded.

    Raises:
        TooFewImages: fewer than two rows on a side.
        FeaturesNotFinite: NaN or infinite features.
        FeatureSpacesDiffer: not the same d.
    """
    x1, x2 = check_pair(generated, reference)
    return _distance(x1, x2, None, None)


def resampled_frechet_distances(
    generated: Features, reference: Features, *, n_resamples: int, seed: int, progress: Progress | None = None
) -> NDArray[np.float64]:
    """Fréchet distances of bootstrap resamples of both sides, for the spread of the score at these n.

    Their mean lies above the point value: a resample has about 63 % distinct images, and the distance is biased
    upwards by a small n. Use the spread, not the place (`confidence.centred_interval`).

    Args:
        generated: (n1, d) features.
        reference: (n2, d) features.
        n_resamples: how many resamples to draw, with replacement, n1 and n2 rows each.
        seed: of the draws; resample k is the same whatever `n_resamples` is.
        progress: asked once per resample whether to go on.

    Returns:
        (n_resamples,) float64, >= 0.
    """
    x1, x2 = check_pair(generated, reference)
    progress = progress or NoProgress()
    rng = np.random.default_rng(seed)
    values = np.empty(n_resamples)
    wide = max(len(x1), len(x2)) <= x1.shape[1]
    products = _Products(x1, x2) if wide else None
    for k in range(n_resamples):
        progress.raise_if_cancelled()
        drawn1, drawn2 = draw_multiplicities(rng, len(x1)), draw_multiplicities(rng, len(x2))
        values[k] = _distance(x1, x2, drawn1, drawn2) if products is None else products.distance(drawn1, drawn2)
    return values


def draw_multiplicities(rng: np.random.Generator, n: int) -> MultiplicitiesInt:
    """How often each of n rows occurs in one bootstrap resample of n rows, never all in one row.

    Returns:
        (n,) int64 >= 0 with sum n.
    """
    while True:
        drawn = np.bincount(rng.integers(n, size=n), minlength=n).astype(np.int64)
        if np.count_nonzero(drawn) > 1:
            return drawn


class _Products:
    """Scalar products of all pairs of rows, taken once, from which the distance of any resample follows.

    For more features than images this saves each resample its products of n1 x d and d x n2. The nuclear norm comes
    from the eigenvalues of M M^T: four times faster than singular values and right to about n sqrt(machine epsilon)
    of the largest, 1e-6 here, which is plenty for a spread and not enough for the value itself.

    Args:
        x1: (n1, d) features, n1 <= d.
        x2: (n2, d) features, n2 <= d.
    """

    def __init__(self, x1: Features, x2: Features) -> None:
        centre = (x1.mean(axis=0) + x2.mean(axis=0)) / 2  # near the origin, fewer digits cancel
        self._x1, self._x2 = x1 - centre, x2 - centre
        self._lengths1, self._lengths2 = ((x**2).sum(axis=1) for x in (self._x1, self._x2))
        self._cross = self._x1 @ self._x2.T

    def distance(self, drawn1: MultiplicitiesInt, drawn2: MultiplicitiesInt) -> float:
        """The distance of the resample in which the rows occur this often."""
        n1, n2 = int(drawn1.sum()), int(drawn2.sum())
        mu1, mu2 = drawn1 @ self._x1 / n1, drawn2 @ self._x2 / n2
        # tr(S) = n/(n-1) (mean |x|^2 - |mu|^2) for unbiased S.
        trace1 = n1 / (n1 - 1) * (drawn1 @ self._lengths1 / n1 - mu1 @ mu1)
        trace2 = n2 / (n2 - 1) * (drawn2 @ self._lengths2 / n2 - mu2 @ mu2)
        kept1, kept2 = drawn1 > 0, drawn2 > 0
        w1, w2 = drawn1[kept1], drawn2[kept2]
        cross = self._cross[np.ix_(kept1, kept2)]
        # (x - mu1).(y - mu2) for all pairs, from x.y alone: both means are weighted means of the rows.
        of_rows, of_columns = cross @ w2 / n2, w1 @ cross / n1
        centred = cross - of_rows[:, None] - of_columns + w1 @ of_rows / n1
        m = np.sqrt(w1 / (n1 - 1))[:, None] * centred * np.sqrt(w2 / (n2 - 1))
        m = m if len(m) <= m.shape[1] else m.T
        nuclear_norm = np.sqrt(np.maximum(np.linalg.eigvalsh(m @ m.T), 0.0)).sum()
        difference = mu1 - mu2
        return max(float(difference @ difference + trace1 + trace2 - 2 * nuclear_norm), 0.0)


def _distance(x1: Features, x2: Features, drawn1: MultiplicitiesInt | None, drawn2: MultiplicitiesInt | None) -> float:
    mu1, a = _mean_and_factor(x1, drawn1)
    mu2, b = _mean_and_factor(x2, drawn2)
    difference = mu1 - mu2
    # ||a||_F^2 = tr(S): the trace of a Gram matrix is the sum of its factor's squares.
    traces = float(np.vdot(a, a) + np.vdot(b, b))
    value = float(difference @ difference) + traces - 2 * _trace_sqrt(a, b)
    return max(value, 0.0)  # The distance is >= 0; rounding leaves about -1e-13 tr(S) for equal samples.


def _mean_and_factor(x: Features, drawn: MultiplicitiesInt | None) -> tuple[NDArray[np.float64], Features]:
    """The mean (d,) of a sample and a factor a (<= n, d) of its unbiased covariance: S = a^T a."""
    if drawn is None:
        mu = x.mean(axis=0)
        return mu, (x - mu) / np.sqrt(len(x) - 1)
    # A row drawn w times adds w x x^T to the scatter matrix, as the row sqrt(w) x once: fewer rows, same covariance.
    kept = drawn > 0
    weights = drawn[kept].astype(np.float64)
    rows = x[kept]
    n = weights.sum()
    mu = weights @ rows / n
    return mu, (rows - mu) * np.sqrt(weights / (n - 1))[:, None]


def _trace_sqrt(a: Features, b: Features) -> float:
    """tr((S_1 S_2)^(1/2)) for S_1 = a^T a and S_2 = b^T b, without forming a d x d matrix.

    S_1 S_2 = a^T (a b^T) b has the non-zero eigenvalues of (a b^T)(a b^T)^T, since XY and YX share theirs; their
    square roots are the singular values of the n1 x n2 matrix a b^T, and the trace is its nuclear norm.
    """
    return float(np.linalg.svd(_shorten(a) @ _shorten(b).T, compute_uv=False).sum())


def _shorten(a: Features) -> Features:
    """A factor of the same covariance with at most d rows: a^T a = r^T r for a = q r."""
    n, d = a.shape
    return a if n <= d else np.asarray(np.linalg.qr(a, mode="r"))
