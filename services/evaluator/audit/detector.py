"""How well a simple rule tells two sets of images apart that should look alike."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.evaluator.audit.effect_sizes import cliffs_delta

N_FOLDS: Final = 5
FEWEST: Final = 20


@dataclass(frozen=True)
class Detection:
    """The area under the ROC curve of a detector on images it has not seen.

    Attributes:
        auc: 0.5: cannot tell; 1: always right.
        low: lower end of the 95 % interval.
        high: upper end.
    """

    auc: float
    low: float
    high: float


def detect(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    first_groups: NDArray[np.int64],
    second_groups: NDArray[np.int64],
    seed: int,
) -> Detection | None:
    """Cross-validated AUC of a logistic regression that tells the first set from the second.

    Images of one group, near-duplicates of each other, are never on both sides of a fold, or it would know them again.
    The interval is that of the pooled scores of all folds (DeLong et al. 1988); it does not hold the chance of how the
    folds were cut.

    Args:
        first: (n, f) features, any finite values.
        second: (m, f) features.
        first_groups: (n,) group numbers.
        second_groups: (m,) group numbers, of another numbering.
        seed: of the folds.

    Returns:
        None where a side has fewer than 20 images or 5 groups.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    enough = min(len(first), len(second)) >= FEWEST
    if not enough or min(len(np.unique(first_groups)), len(np.unique(second_groups))) < N_FOLDS:
        return None
    features = np.concatenate([first, second])
    truth = np.repeat([1, 0], [len(first), len(second)])
    groups = np.concatenate([first_groups, second_groups + first_groups.max() + 1])
    scores = np.empty(len(features))
    folds = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=seed)
    for learnt, judged in folds.split(features, truth, groups):
        rule = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000, class_weight="balanced"))
        scores[judged] = rule.fit(features[learnt], truth[learnt]).decision_function(features[judged])
    auc, low, high = cliffs_delta(scores[: len(first)], scores[len(first) :]).auc
    return Detection(round(auc, 4), round(low, 4), round(high, 4))


def describe(detection: Detection | None, baseline: Detection | None, features: str) -> dict[str, Any]:
    """The detector's figures as JSON."""
    return {
        "auc": detection.auc if detection else None,
        "low": detection.low if detection else None,
        "high": detection.high if detection else None,
        "folds": N_FOLDS,
        "features": features,
        "auc_of_baseline": baseline.auc if baseline else None,
        "baseline_interval": [baseline.low, baseline.high] if baseline else None,
        "reason": None if detection else f"Fewer than {FEWEST} images, or {N_FOLDS} that differ, on a side.",
    }
