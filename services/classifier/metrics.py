"""What a confusion matrix says: pure NumPy, one definition per number.

Definitions follow Sokolova & Lapalme 2009, "A systematic analysis of performance measures for classification tasks",
tables 2 and 3. A ratio whose denominator is zero is reported as 0.0, as scikit-learn's classification report does.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.tumour import CLASS_ORDER

N_CLASSES = len(CLASS_ORDER)
Counts = NDArray[np.int64]
"""(4, 4) int64 confusion matrix: rows are true classes, columns predicted ones, both in `CLASS_ORDER`."""


def confusion_matrix(true_index: NDArray[np.int64], predicted_index: NDArray[np.int64]) -> Counts:
    """How often each true class was called each class.

    Args:
        true_index: (N,) int64 indices into `CLASS_ORDER`.
        predicted_index: (N,) int64 indices into `CLASS_ORDER`.

    Returns:
        (4, 4) int64, rows true, columns predicted. The order is fixed, whatever classes occur: the study averaged
        matrices of different class orders (study, section 7.3).
    """
    if true_index.shape != predicted_index.shape:
        raise ValueError("There must be one prediction per image.")
    counts = np.bincount(true_index * N_CLASSES + predicted_index, minlength=N_CLASSES**2)
    return counts.reshape(N_CLASSES, N_CLASSES).astype(np.int64)


def accuracy(confusion: Counts) -> float:
    """Share of images called by their true class: trace / sum."""
    return _ratio(np.trace(confusion), confusion.sum())


def precision(confusion: Counts) -> NDArray[np.float64]:
    """(4,) float64 in [0, 1]: of the images called k, the share that are k; C[k, k] / sum_i C[i, k]."""
    return _ratios(np.diag(confusion), confusion.sum(axis=0))


def recall(confusion: Counts) -> NDArray[np.float64]:
    """(4,) float64 in [0, 1]: of the images that are k, the share called k; C[k, k] / sum_j C[k, j]."""
    return _ratios(np.diag(confusion), confusion.sum(axis=1))


def f1(confusion: Counts) -> NDArray[np.float64]:
    """(4,) float64 in [0, 1]: harmonic mean of precision and recall; 2 TP / (2 TP + FP + FN)."""
    return _ratios(2 * np.diag(confusion), confusion.sum(axis=0) + confusion.sum(axis=1))


def support(confusion: Counts) -> Counts:
    """(4,) int64: number of images of each true class."""
    return np.asarray(confusion.sum(axis=1), np.int64)


def wilson_interval(n_right: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """The score interval of a proportion (Wilson 1927, JASA 22:209); 95 % by default (z = 0.975 normal quantile).

    It says how far the accuracy on n test images may be from the accuracy on all such images; it knows nothing of
    the spread between seeds.
    """
    if n == 0:
        return 0.0, 1.0
    share = n_right / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def summarise(confusion: Counts) -> dict[str, Any]:
    """Every number above as JSON, with macro (mean over classes) and weighted (mean over images) averages.

    Classes that no image has and no answer names are left out of the macro averages, as scikit-learn's report does.
    """
    columns = {"precision": precision(confusion), "recall": recall(confusion), "f1": f1(confusion)}
    n_per_class = support(confusion)
    n = int(n_per_class.sum())
    per_class = {
        str(name): {key: float(values[k]) for key, values in columns.items()} | {"support": int(n_per_class[k])}
        for k, name in enumerate(CLASS_ORDER)
    }
    occurs = confusion.sum(axis=0) + confusion.sum(axis=1) > 0
    low, high = wilson_interval(int(np.trace(confusion)), n)
    return {
        "accuracy": accuracy(confusion),
        "accuracy_interval_95": [low, high],
        "n_images": n,
        "per_class": per_class,
        "macro": {key: _ratio(float(values[occurs].sum()), int(occurs.sum())) for key, values in columns.items()},
        "weighted": {key: _ratio(float(values @ n_per_class), n) for key, values in columns.items()},
        "confusion": {
            "classes": [str(name) for name in CLASS_ORDER],
            "rows_true_columns_predicted": confusion.tolist(),
        },
    }


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else 0.0


def _ratios(part: Counts, whole: Counts) -> NDArray[np.float64]:
    return np.asarray(np.divide(part, whole, out=np.zeros(N_CLASSES), where=whole > 0), np.float64)
