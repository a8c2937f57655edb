"""The imaging planes of synthetic images, as a rule learnt from the real images' planes sees them."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.evaluator.audit.copy_search import group_alike, mirror, pixel_vectors
from services.evaluator.audit.images import AuditImages
from services.evaluator.metrics.confidence import wilson_interval
from shared.tumour import Plane

N_NEIGHBOURS: Final = 5
N_FOLDS: Final = 5
ALIKE: Final = 0.93
FEWEST: Final = 20

RULE: Final = f"{N_NEIGHBOURS} most correlated reference images at 32 x 32 pixels, mirrored or not, vote by correlation"

Numbers = NDArray[np.float64]


def compare_planes(
    synthetic: AuditImages, reference: AuditImages, baseline: AuditImages | None, seed: int
) -> dict[str, Any] | None:
    """Share of each plane in the synthetic images, the reference and the baseline; None where planes are unknown.

    A rule that errs tells a wrong mix even of real images, so its own accuracy stands beside it: every fifth of the
    reference is judged by the rest, images alike being kept on one side. Synthetic images may be blurred or odd, so the
    rule may do worse on them.

    Args:
        synthetic: images whose planes are not known.
        reference: images of which at least 20 have a plane.
        baseline: real images of any planes, or None; judged by the rule where their planes are not known.
        seed: of the folds.
    """
    known = [row for row, plane in enumerate(reference.planes) if plane is not None]
    if len(known) < FEWEST:
        return None
    learnt = reference.take(known)
    truth = np.array([str(plane) for plane in learnt.planes])
    vectors = pixel_vectors(learnt.images_u8)
    judged = _predict(synthetic.images_u8, vectors, truth)
    accuracy = _cross_validate(learnt, vectors, truth, seed)
    fresh = None
    if baseline is not None:
        fresh = _shares(_predict(baseline.images_u8, vectors, truth))
    planes = [str(plane) for plane in Plane]
    return {
        "rule": RULE,
        "accuracy": accuracy,
        "n_learnt": len(known),
        "synthetic": _shares(judged),
        "reference": _shares(truth),
        "baseline": fresh,
        "n_synthetic": {plane: int((judged == plane).sum()) for plane in planes},
        # Half the sum of absolute differences of the shares: the part of the images that would have to change plane.
        "distance": round(sum(abs(float((judged == p).mean() - (truth == p).mean())) for p in planes) / 2, 4),
    }


def _predict(images_u8: NDArray[np.uint8], vectors: NDArray[np.float32], truth: NDArray[np.str_]) -> NDArray[np.str_]:
    upright, mirrored = pixel_vectors(images_u8), pixel_vectors(mirror(images_u8))
    return _vote(np.maximum(upright @ vectors.T, mirrored @ vectors.T), truth)


def _vote(correlations: NDArray[np.float32], truth: NDArray[np.str_]) -> NDArray[np.str_]:
    """(n,) planes from (n, m) correlations with m images of known plane."""
    k = min(N_NEIGHBOURS, correlations.shape[1])
    nearest = np.argsort(-correlations, axis=1, kind="stable")[:, :k]
    weights = np.maximum(np.take_along_axis(correlations, nearest, axis=1), 1e-6)
    planes = np.array([str(plane) for plane in Plane])
    votes = np.stack([(weights * (truth[nearest] == plane)).sum(axis=1) for plane in planes], axis=1)
    return np.asarray(planes[votes.argmax(axis=1)])


def _cross_validate(
    learnt: AuditImages, vectors: NDArray[np.float32], truth: NDArray[np.str_], seed: int
) -> dict[str, Any] | None:
    """Share of the reference whose plane the rest of it tells right, with interval."""
    from sklearn.model_selection import GroupKFold

    groups = group_alike(learnt.images_u8, ALIKE)
    if len(np.unique(groups)) < N_FOLDS:
        return None
    correlations = np.maximum(vectors @ vectors.T, pixel_vectors(mirror(learnt.images_u8)) @ vectors.T)
    right = np.zeros(len(truth), bool)
    folds = GroupKFold(N_FOLDS, shuffle=True, random_state=seed)
    for rest, held_out in folds.split(vectors, groups=groups):
        right[held_out] = _vote(correlations[np.ix_(held_out, rest)], truth[rest]) == truth[held_out]
    low, high = wilson_interval(int(right.sum()), len(right))
    return {"share": round(float(right.mean()), 4), "low": round(low, 4), "high": round(high, 4), "n": len(right)}


def _shares(planes: NDArray[np.str_] | Sequence[str]) -> dict[str, float]:
    found = np.asarray(planes)
    return {str(plane): round(float((found == str(plane)).mean()), 4) for plane in Plane}
