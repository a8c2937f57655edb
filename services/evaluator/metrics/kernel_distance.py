"""The kernel distance between two samples of features: KID when the features are Inception's.

The squared maximum mean discrepancy with the kernel k(x, y) = (x.y / d + 1)^3, Binkowski et al. 2018
(arXiv:1801.01401), section 4. Unlike the Fréchet distance its estimate is unbiased at any n, so that scores of sets
of different size can be compared; it can come out slightly below 0.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.evaluator.metrics.samples import Features, check_pair
from shared.progress import NoProgress, Progress

KERNEL_DEGREE = 3
"""Degree of the polynomial kernel: Binkowski et al. 2018, section 4."""

N_SUBSETS = 100
"""Subsets drawn: torch-fidelity's default, used by the study."""

MAX_SUBSET_SIZE = 1000
"""Rows per subset: torch-fidelity's default, an upper limit here."""


@dataclass(frozen=True)
class KernelDistance:
    """A kernel distance with what is known of its uncertainty.

    Attributes:
        value: the unbiased estimate on all rows of both sides.
        standard_error: jackknife standard error of `value`.
        subset_mean: mean over random subsets, the way torch-fidelity and most papers report KID.
        subset_sd: standard deviation over those subsets; it shrinks with the subset size and is not an error of
            `value`.
        subset_size: rows of each side in a subset.
        n_subsets: number of subsets.
    """

    value: float
    standard_error: float
    subset_mean: float
    subset_sd: float
    subset_size: int
    n_subsets: int


def kernel_distance(
    generated: Features,
    reference: Features,
    *,
    subset_size: int | None = None,
    n_subsets: int = N_SUBSETS,
    seed: int = 0,
    progress: Progress | None = None,
) -> KernelDistance:
    """The kernel distance of `generated` from `reference`, exact and over random subsets.

    Args:
        generated: (n1, d) features, unbounded.
        reference: (n2, d) features, unbounded.
        subset_size: rows per subset; by default half of the smaller side (so that subsets differ), at least 2, at
            most 1,000.
        n_subsets: number of subsets.
        seed: of the subsets; the draws are torch-fidelity's, so that equal features and seed give its numbers.
        progress: asked once per subset whether to go on.

    Raises:
        TooFewImages: fewer than two rows on a side.
        FeaturesNotFinite: NaN or infinite features.
        FeatureSpacesDiffer: not the same d.
    """
    x, y = check_pair(generated, reference)
    progress = progress or NoProgress()
    size = subset_size or default_subset_size(len(x), len(y))
    k_xx, k_yy, k_xy = polynomial_kernel(x, x), polynomial_kernel(y, y), polynomial_kernel(x, y)
    rng = np.random.RandomState(seed)
    values = np.empty(n_subsets)
    for k in range(n_subsets):
        progress.raise_if_cancelled()
        i = rng.choice(len(x), size, replace=False)
        j = rng.choice(len(y), size, replace=False)
        # The kernel of a subset is a block of the kernel of all: no product of features is computed twice.
        values[k] = unbiased_mmd2(k_xx[np.ix_(i, i)], k_yy[np.ix_(j, j)], k_xy[np.ix_(i, j)])
    return KernelDistance(
        value=unbiased_mmd2(k_xx, k_yy, k_xy),
        standard_error=jackknife_error(k_xx, k_yy, k_xy),
        subset_mean=float(values.mean()),
        subset_sd=float(values.std()),
        subset_size=size,
        n_subsets=n_subsets,
    )


def default_subset_size(n1: int, n2: int) -> int:
    """Half of the smaller side, at least 2 and at most 1,000: whole-set subsets would all be the same."""
    return max(2, min(MAX_SUBSET_SIZE, min(n1, n2) // 2))


def polynomial_kernel(x: Features, y: Features) -> NDArray[np.float64]:
    """k(x, y) = (x.y / d + 1)^3 for all pairs of rows: (n1, n2) float64."""
    return np.asarray((x @ y.T / x.shape[1] + 1.0) ** KERNEL_DEGREE)


def unbiased_mmd2(k_xx: NDArray[np.float64], k_yy: NDArray[np.float64], k_xy: NDArray[np.float64]) -> float:
    """The unbiased estimate of the squared MMD: eq. 3 of Gretton et al. 2012 (JMLR 13:723).

    Args:
        k_xx: (n1, n1) kernel among the generated rows.
        k_yy: (n2, n2) kernel among the reference rows.
        k_xy: (n1, n2) kernel between them.
    """
    n1, n2 = k_xy.shape
    within_x = (k_xx.sum() - np.trace(k_xx)) / (n1 * (n1 - 1))
    within_y = (k_yy.sum() - np.trace(k_yy)) / (n2 * (n2 - 1))
    return float(within_x + within_y - 2 * k_xy.sum() / (n1 * n2))


def jackknife_error(k_xx: NDArray[np.float64], k_yy: NDArray[np.float64], k_xy: NDArray[np.float64]) -> float:
    """Two-sample jackknife standard error of `unbiased_mmd2`; NaN where a side has fewer than three rows.

    var = sum over sides of (n - 1)/n sum_i (theta_(i) - mean)^2: Arvesen 1969 (doi:10.1214/aoms/1177697287).
    """
    n1, n2 = k_xy.shape
    if min(n1, n2) < 3:
        return float("nan")
    variance = _leave_one_out_variance(k_xx, k_xy.sum(axis=1), n2) + _leave_one_out_variance(k_yy, k_xy.sum(axis=0), n1)
    return float(np.sqrt(variance))


def _leave_one_out_variance(k: NDArray[np.float64], cross_sums: NDArray[np.float64], n_other: int) -> float:
    """Jackknife variance from leaving out each row of one side: k (n, n), cross_sums (n,) over the other side."""
    n = len(k)
    row_sums = k.sum(axis=1) - np.diagonal(k)
    within = (row_sums.sum() - 2 * row_sums) / ((n - 1) * (n - 2))
    across = (cross_sums.sum() - cross_sums) / ((n - 1) * n_other)
    left_out = within - 2 * across
    return float((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
