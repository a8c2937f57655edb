"""Left and right: whether a set of images is mirrored against the images it was learnt from.

Brains are nearly symmetric, so the nearest training image says little. A rule is learnt instead that tells the training
images from their own mirror images, by the directions of edges, and is then asked of the synthetic images. It gives an
image and its mirror image opposite scores, so a set without a preference scores 0 on average.

Not every set of real images has a preferred side. The rule then knows single training images only, and calls images it
has not seen as-is and mirrored equally often; but a generator that has learnt from those training images still shows
which way they were turned when it saw them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from services.evaluator.audit.copy_search import group_alike
from services.evaluator.audit.memorisation import group_repeats
from services.evaluator.audit.registration import shrink
from services.evaluator.metrics.confidence import wilson_interval

N_DIRECTIONS: Final = 12
ALIKE: Final = 0.88
"""Correlation at 32 x 32 pixels from which two images are kept together, so that none is judged by its own copy or by
the next slice of its patient."""

DECISIVE_Z: Final = 4.0
"""Standard errors of the mean score from 0 that count as proof; by chance alone one set in 16,000 gets there."""

DECISIVE_DIFFERENCE_Z: Final = 3.0
"""The same for the difference to the reference's own mean score, where images lean to the mirrored side. Real sets
hold mirrored slices of one patient, so that fresh real images may lean there too."""

LEANS_TOO: Final = (
    "Fresh real images lean the same way, as where they are mirrored slices of reference images, so by itself this is "
    "weaker evidence."
)

NEITHER_SIDE: Final = "The synthetic images lean to neither side beyond chance."
AS_THE_REFERENCE: Final = (
    "The synthetic images lean to the mirrored side, but not clearly more than the reference images do, so it cannot "
    "be told whether they are mirrored."
)

FEWEST: Final = 20
"""Fewest images of a side, repeats counted once, from which a rule is learnt or judged."""

TOO_FEW: Final = f"Fewer than {FEWEST} different images on a side: no rule can be learnt and judged."

_SIZE_PX: Final = 64
_CELL_PX: Final = 8
_BLUR_PX: Final = 1.0
_N_FOLDS: Final = 5
# A support vector machine with a Gaussian kernel; of costs 3 and 10 and gammas 1, 4 and 8 these tell most, by a little.
_COST: Final = 10.0
_GAMMA: Final = 8.0

Histograms = NDArray[np.float32]
"""(n, 8, 8, 12) float32, Euclidean length 1 each."""


def edge_histograms(images_u8: NDArray[np.uint8]) -> Histograms:
    """Histograms of signed edge directions (Dalal and Triggs 2005, doi:10.1109/CVPR.2005.177) on a grid of 8 x 8 cells.

    They do not change with brightness and contrast, and little with sharpness, as the image is blurred first.

    Args:
        images_u8: (n, h, w) uint8, gray levels 0..255.
    """
    n_cells = _SIZE_PX // _CELL_PX
    rows, columns = np.indices((_SIZE_PX, _SIZE_PX)) // _CELL_PX
    cells = (rows * n_cells + columns) * N_DIRECTIONS
    histograms = np.empty((len(images_u8), n_cells, n_cells, N_DIRECTIONS), np.float32)
    for row, small in enumerate(shrink(images_u8, _SIZE_PX)):
        pixels = cv2.GaussianBlur(small.astype(np.float32), (0, 0), _BLUR_PX)
        dx, dy = cv2.Sobel(pixels, cv2.CV_32F, 1, 0), cv2.Sobel(pixels, cv2.CV_32F, 0, 1)
        direction = np.arctan2(dy, dx) / (2 * np.pi) * N_DIRECTIONS % N_DIRECTIONS
        low = direction.astype(np.int64) % N_DIRECTIONS
        above = (direction - np.floor(direction)) * (size := np.hypot(dx, dy))
        places = np.concatenate([(cells + low).ravel(), (cells + (low + 1) % N_DIRECTIONS).ravel()])
        votes = np.bincount(places, np.concatenate([(size - above).ravel(), above.ravel()]), histograms[0].size)
        roots = np.sqrt(np.maximum(votes, 0)).reshape(histograms.shape[1:])
        histograms[row] = roots / max(float(np.linalg.norm(roots)), 1e-6)
    return histograms


def mirror_histograms(histograms: Histograms) -> Histograms:
    """The histograms of the mirrored images: cells change sides, and a direction a becomes pi - a."""
    directions = (N_DIRECTIONS // 2 - np.arange(N_DIRECTIONS)) % N_DIRECTIONS
    return np.ascontiguousarray(histograms[:, :, ::-1][..., directions])


@dataclass(frozen=True)
class Lean:
    """Which way a set of images leans.

    Attributes:
        n: images, repeats counted once: forty drawings of one image are no forty witnesses.
        share_mirrored: share of them that the rule takes for mirrored.
        low: lower end of the share's 95 % interval.
        high: upper end.
        z: mean score over its standard error; positive: mirrored.
    """

    n: int
    share_mirrored: float
    low: float
    high: float
    z: float


def judge_orientation(
    synthetic_u8: NDArray[np.uint8],
    reference_u8: NDArray[np.uint8],
    baseline_u8: NDArray[np.uint8] | None,
    check: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Whether the synthetic images are mirrored left to right against the reference, as JSON.

    Args:
        synthetic_u8: (n, h, w) uint8.
        reference_u8: (m, h, w) uint8.
        baseline_u8: (k, h, w) uint8 or None.
        check: called now and then; what it raises ends the work.

    Returns:
        "mirrored": True, False, or None where it cannot be told; with the `Lean` of the synthetic images, of the
        reference (each fifth of it judged by a rule learnt from the rest; images alike stay in one fifth), and of the
        baseline without images that are in the reference, where 20 are left. Images that repeat each other count once,
        with the mean of their scores. "difference_z" compares the mean scores of the synthetic images and the
        reference. "reason" says why it cannot be told.
    """
    if min(len(synthetic_u8), len(reference_u8)) < FEWEST:
        return {"mirrored": None, "reason": TOO_FEW}
    repeats, repeats_of_reference = group_repeats(synthetic_u8, check), group_repeats(reference_u8, check)
    if min(len(np.unique(found)) for found in (repeats, repeats_of_reference)) < FEWEST:
        return {"mirrored": None, "reason": TOO_FEW}
    upright = edge_histograms(reference_u8)
    groups = group_alike(reference_u8, ALIKE)
    rule = _Rule(upright)
    scores = _average(rule.score(edge_histograms(synthetic_u8)), repeats)
    held_out = _score_held_out(upright, groups)
    held_out = None if held_out is None else _average(held_out, repeats_of_reference)
    synthetic = _lean(scores)
    difference_z = _difference_z(scores, held_out) if held_out is not None else None
    baseline = None
    if baseline_u8 is not None:
        joint = group_alike(np.concatenate([reference_u8, baseline_u8]), ALIKE)
        fresh = baseline_u8[~np.isin(joint[len(reference_u8) :], joint[: len(reference_u8)])]
        baseline = _lean_of_baseline(rule, fresh, check)
    mirrored, reason = _judge(synthetic.z, difference_z)
    return {
        "mirrored": mirrored,
        "synthetic": vars(synthetic),
        "reference": vars(_lean(held_out)) if held_out is not None else None,
        "baseline": baseline,
        "difference_z": difference_z,
        "reason": reason,
    }


def _judge(z: float, difference_z: float | None) -> tuple[bool | None, str | None]:
    """Whether images are mirrored, or None and why it cannot be told.

    Args:
        z: mean score of the synthetic images over its standard error.
        difference_z: the same of its difference to the reference's; None where that has no scores.
    """
    if abs(z) < DECISIVE_Z:
        return None, NEITHER_SIDE
    if z > 0 and difference_z is not None and difference_z < DECISIVE_DIFFERENCE_Z:
        return None, AS_THE_REFERENCE
    return z > 0, None


class _Rule:
    """A support vector machine that scores an image and its mirror image with opposite signs; positive: mirrored."""

    def __init__(self, upright: Histograms) -> None:
        from sklearn.svm import SVC

        mirrored = mirror_histograms(upright)
        both = np.concatenate([upright, mirrored]).reshape(2 * len(upright), -1)
        self._machine = SVC(C=_COST, gamma=_GAMMA).fit(both, np.repeat([0, 1], len(upright)))

    def score(self, histograms: Histograms) -> NDArray[np.float64]:
        """(n,) float64; the machine is antisymmetric up to rounding, halving the difference makes it exactly so."""
        n = len(histograms)
        both = np.concatenate([histograms, mirror_histograms(histograms)]).reshape(2 * n, -1)
        scores = self._machine.decision_function(both)
        return np.asarray((scores[:n] - scores[n:]) / 2, np.float64)


def _score_held_out(upright: Histograms, groups: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """(m,) scores of the reference itself, each by a rule that saw neither it nor an image like it."""
    from sklearn.model_selection import GroupKFold

    if len(np.unique(groups)) < _N_FOLDS:
        return None
    scores = np.empty(len(upright))
    for learnt, judged in GroupKFold(_N_FOLDS).split(upright, groups=groups):
        scores[judged] = _Rule(upright[learnt]).score(upright[judged])
    return scores


def _lean_of_baseline(rule: _Rule, fresh_u8: NDArray[np.uint8], check: Callable[[], None]) -> dict[str, Any] | None:
    """The lean of real images that the rule was not learnt from; None where there are too few."""
    if len(fresh_u8) < FEWEST:
        return None
    scores = _average(rule.score(edge_histograms(fresh_u8)), group_repeats(fresh_u8, check))
    return vars(_lean(scores)) if len(scores) >= FEWEST else None


def _average(scores: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """(g,) float64 mean score of each group of images that repeat each other."""
    return np.asarray(np.bincount(groups, scores) / np.bincount(groups), np.float64)


def _difference_z(scores: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """The difference of two mean scores over its standard error (Welch)."""
    error = np.sqrt(scores.var(ddof=1) / len(scores) + others.var(ddof=1) / len(others))
    return round(float((scores.mean() - others.mean()) / error), 2) if error > 0 else 0.0


def _lean(scores: NDArray[np.float64]) -> Lean:
    n = len(scores)
    n_mirrored = int((scores > 0).sum())
    error = float(scores.std(ddof=1)) / np.sqrt(n)
    z = float(scores.mean() / error) if error > 0 else 0.0
    return Lean(n, n_mirrored / n, *wilson_interval(n_mirrored, n), round(z, 2))
