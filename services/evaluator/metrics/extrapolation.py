"""The Fréchet distance extrapolated to infinitely many images.

Its bias at n images is about proportional to 1/n, so that a line through the distances of subsamples over 1/n meets
1/n = 0 at the distance without bias: Chong and Forsyth 2020 (arXiv:1911.07023), section 3.2, 15 points.

They hold the real statistics fixed, made from 50,000 images. Here the real side is as small as the synthetic one and
biases the distance as much, so both sides are cut to the same fraction f: the bias a/n1 + b/n2 is then proportional to
1/f, and the line's value at 1/f = 0 is the distance for infinitely many images on both sides.

The bias follows 1/n only where n exceeds the number of directions in which the features vary. With n below the
number of features the line is bent and the value at 0 usually still too high: better than the plain distance, but no
more than an estimate.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.evaluator.metrics.frechet import frechet_distance
from services.evaluator.metrics.samples import Features, TooFewImages, check_pair
from shared.progress import NoProgress, Progress

N_POINTS = 15
"""Subsamples on the line: Chong and Forsyth 2020, section 4."""

SMALLEST_FRACTION = 0.2
"""Of the images in the smallest subsample. They go down to a tenth of 50,000; a tenth of 600 would be noise."""

N_GROUPS = 10
"""Groups of the jackknife."""

T_QUANTILE = 2.262157
"""97.5 % quantile of Student's t with N_GROUPS - 1 = 9 degrees of freedom."""

MIN_IMAGES = 20
"""Fewest images on a side: the smallest subsample of a jackknife sample then has three."""


@dataclass(frozen=True)
class Extrapolation:
    """A line through Fréchet distances over 1/fraction.

    Attributes:
        value: the line at 1/fraction = 0; can be below 0 by chance.
        slope: distance per 1/fraction: the bias of the whole sample, if the line holds.
        r2: share of the points' variance that the line explains; 1 on a line.
        standard_error: delete-a-group jackknife standard error of `value`.
        points: (synthetic images, real images, distance) of each subsample.
    """

    value: float
    slope: float
    r2: float
    standard_error: float
    points: list[tuple[int, int, float]]


def extrapolate_distance(
    generated: Features, reference: Features, *, seed: int = 0, progress: Progress | None = None
) -> Extrapolation:
    """The Fréchet distance for infinitely many images on both sides, with its jackknife error.

    Both sides are cut into ten random groups; the whole extrapolation is repeated without each group in turn, and
    var = (G - 1)/G sum_g (value_(g) - mean)^2 (Shao and Tu 1995, The Jackknife and Bootstrap, eq. 2.2 for groups). The
    residuals of one line would give a far smaller error: its points share their images.

    Args:
        generated: (n1, d) features, unbounded.
        reference: (n2, d) features, unbounded.
        seed: of the order in which images enter the subsamples.
        progress: asked before each distance whether to go on.

    Raises:
        TooFewImages: fewer than 20 rows on a side.
        FeaturesNotFinite: NaN or infinite features.
        FeatureSpacesDiffer: not the same d.
    """
    x, y = check_pair(generated, reference)
    for side, sample in (("synthetic", x), ("real", y)):
        if len(sample) < MIN_IMAGES:
            raise TooFewImages(
                f"The {side} side has {len(sample)} images; extrapolating the Fréchet distance needs at least "
                f"{MIN_IMAGES}.",
                side=side,
                n=len(sample),
            )
    rng = np.random.default_rng(seed)
    x, y = x[rng.permutation(len(x))], y[rng.permutation(len(y))]
    progress = progress or NoProgress()
    value, slope, r2, points = _fit_line(x, y, progress)
    left_out = [_fit_line(_without_group(x, group), _without_group(y, group), progress)[0] for group in range(N_GROUPS)]
    spread = float(((np.array(left_out) - np.mean(left_out)) ** 2).sum())
    error = float(np.sqrt((N_GROUPS - 1) / N_GROUPS * spread))
    return Extrapolation(value, slope, r2, error, points)


def _without_group(x: Features, group: int) -> Features:
    """The rows, already in random order, without every tenth from `group` on."""
    kept: NDArray[np.bool_] = np.arange(len(x)) % N_GROUPS != group
    return x[kept]


def _fit_line(x: Features, y: Features, progress: Progress) -> tuple[float, float, float, list[tuple[int, int, float]]]:
    """Intercept, slope and R^2 of the least-squares line of the distance over 1/fraction, and its points."""
    points = []
    inverse = []
    for fraction in np.linspace(SMALLEST_FRACTION, 1.0, N_POINTS):
        progress.raise_if_cancelled()
        n1, n2 = (round(fraction * len(sample)) for sample in (x, y))
        points.append((n1, n2, frechet_distance(x[:n1], y[:n2])))
        # Rounding to whole images moves the two fractions apart a little; their mean is what the bias sees.
        inverse.append((len(x) / n1 + len(y) / n2) / 2)
    distances = np.array([distance for _, _, distance in points])
    slope, intercept = np.polyfit(inverse, distances, 1)
    residual = distances - (intercept + slope * np.array(inverse))
    spread = float(((distances - distances.mean()) ** 2).sum())
    r2 = 1 - float((residual**2).sum()) / spread if spread > 0 else 1.0
    return float(intercept), float(slope), r2, points
