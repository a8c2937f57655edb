"""Precision, recall, density and coverage: fidelity and variety apart, from distances to nearest neighbours.

Each real (or generated) image is the centre of a ball that reaches to its k-th nearest neighbour of its own kind;
the balls together stand for the distribution's support.

- Improved precision and recall: Kynkaanniemi et al. 2019 (arXiv:1904.06991), eq. 1 and 2, k = 3. Precision is the share
  of generated images in a real ball, recall the share of real images in a generated ball.
- Density and coverage: Naeem et al. 2020 (arXiv:2002.09797), eq. 3 and 4, k = 5. Density counts in how many real balls
  a generated image lies, over k, so that one outlier's large ball counts little; it can exceed 1. Coverage is the
  share of real images with a generated image in their ball.

All four change with n, so that the floor must have about the same n.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from services.evaluator.metrics.samples import Features, TooFewImages, check_pair
from shared.progress import NoProgress, Progress

PRECISION_NEIGHBOUR = 3
"""k of precision and recall: Kynkaanniemi et al. 2019, section 2; torch-fidelity's default."""

DENSITY_NEIGHBOUR = 5
"""k of density and coverage: Naeem et al. 2020, section 3.3."""

N_HALVES = 200
"""Random halves for the intervals."""

MIN_IMAGES = DENSITY_NEIGHBOUR + 1
"""Fewest images on a side: each needs its k-th neighbour."""

_ROUNDING = 1e-13
"""Squared distances below this share of the squared lengths are rounding of |x|^2 + |y|^2 - 2 x.y, and are 0."""

Distances2 = NDArray[np.float64]
"""(n1, n2) float64 >= 0, squared Euclidean distances."""


@dataclass(frozen=True)
class NeighbourScores:
    """The four scores of one pair of samples.

    Attributes:
        precision: share of generated images in a real ball, 0..1.
        recall: share of real images in a generated ball, 0..1.
        density: mean number of real balls around a generated image, over k, >= 0; 1 for equal distributions.
        coverage: share of real images with a generated image in their ball, 0..1.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighbour_scores(generated: Features, reference: Features) -> NeighbourScores:
    """The four scores of `generated` against `reference`; the order of the arguments matters.

    Args:
        generated: (n1, d) features, unbounded.
        reference: (n2, d) features, unbounded.

    Raises:
        TooFewImages: fewer than six rows on a side.
        FeaturesNotFinite: NaN or infinite features.
        FeatureSpacesDiffer: not the same d.
    """
    return _scores(*_all_distances(generated, reference))


def halved_neighbour_scores(
    generated: Features,
    reference: Features,
    *,
    n_halves: int = N_HALVES,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, NDArray[np.float64]]:
    """The scores of random halves of both sides, drawn without replacement, for the spread of the scores.

    A bootstrap resample repeats rows, and a repeated row is its own nearest neighbour at distance 0: its balls
    collapse and the scores with them. Halves repeat nothing. The spread over halves is that of the whole sample:
    the delete-d jackknife with d = n/2, whose variance is (n - d)/d = 1 times that of the halves (Shao and Wu 1989,
    doi:10.1214/aos/1176347263). Their level is that of n/2 images, so only their spread is used.

    Args:
        generated: (n1, d) features.
        reference: (n2, d) features.
        n_halves: how many pairs of halves to draw.
        seed: of the draws; half k is the same whatever `n_halves` is.
        progress: asked once per half whether to go on.

    Returns:
        (n_halves,) float64 by score; empty arrays where half a side has too few images.
    """
    within_x, within_y, across = _all_distances(generated, reference)
    n1, n2 = across.shape
    progress = progress or NoProgress()
    names = [field.name for field in fields(NeighbourScores)]
    if min(n1, n2) // 2 < MIN_IMAGES:
        return {name: np.empty(0) for name in names}
    rng = np.random.default_rng(seed)
    values = np.empty((n_halves, len(names)))
    for k in range(n_halves):
        progress.raise_if_cancelled()
        i, j = rng.permutation(n1)[: n1 // 2], rng.permutation(n2)[: n2 // 2]
        scores = _scores(within_x[np.ix_(i, i)], within_y[np.ix_(j, j)], across[np.ix_(i, j)])
        values[k] = [getattr(scores, name) for name in names]
    return {name: values[:, column] for column, name in enumerate(names)}


def squared_distances(x: Features, y: Features) -> Distances2:
    """Squared Euclidean distances of all pairs of rows: (n1, n2) float64 >= 0, exactly 0 for equal rows."""
    # Moved to a common centre first: the nearer the origin, the fewer digits cancel.
    centre = x.mean(axis=0)
    a, b = x - centre, y - centre
    lengths = np.einsum("ij,ij->i", a, a)[:, None] + np.einsum("ij,ij->i", b, b)
    distances = lengths - 2 * (a @ b.T)
    distances[distances < _ROUNDING * lengths] = 0.0
    return np.asarray(distances)


def _all_distances(generated: Features, reference: Features) -> tuple[Distances2, Distances2, Distances2]:
    x, y = check_pair(generated, reference)
    for side, sample in (("synthetic", x), ("real", y)):
        if len(sample) < MIN_IMAGES:
            raise TooFewImages(
                f"The {side} side has {len(sample)} images; precision, recall, density and coverage look at the "
                f"{DENSITY_NEIGHBOUR}th nearest neighbour and need at least {MIN_IMAGES}.",
                side=side,
                n=len(sample),
            )
    return squared_distances(x, x), squared_distances(y, y), squared_distances(x, y)


def _scores(within_x: Distances2, within_y: Distances2, across: Distances2) -> NeighbourScores:
    """The scores from squared distances among generated, among real, and from generated (rows) to real (columns)."""
    # The nearest "neighbour" of a row is the row itself, so index k of the sorted row is its k-th other one.
    balls_x = np.partition(within_x, PRECISION_NEIGHBOUR, axis=1)[:, PRECISION_NEIGHBOUR]
    sorted_y = np.partition(within_y, (PRECISION_NEIGHBOUR, DENSITY_NEIGHBOUR), axis=1)
    balls_y, wide_y = sorted_y[:, PRECISION_NEIGHBOUR], sorted_y[:, DENSITY_NEIGHBOUR]
    in_wide = across <= wide_y
    return NeighbourScores(
        # Kynkaanniemi et al. 2019, eq. 2, with eq. 1 as the comparison: at most as far as the ball reaches.
        precision=float((across <= balls_y).any(axis=1).mean()),
        recall=float((across <= balls_x[:, None]).any(axis=0).mean()),
        # Naeem et al. 2020, eq. 3: the sum over all pairs, over k M.
        density=float(in_wide.sum() / (DENSITY_NEIGHBOUR * len(across))),
        # Naeem et al. 2020, eq. 4.
        coverage=float(in_wide.any(axis=0).mean()),
    )
