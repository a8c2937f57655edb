"""Usefulness: what a small network learns from synthetic images, tested on real ones it has not seen."""

import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.evaluator.audit.small_network import N_UPDATES, predict, train_network
from services.evaluator.metrics.confidence import student_quantile
from services.evaluator.metrics.samples import TooFewImages
from shared.progress import NoProgress, Progress
from shared.tumour import CLASS_ORDER

SIZE_PX: Final = 64
INTERVAL_METHOD: Final = (
    "Student's t, 95 %, from the variance over the test images of the mean over seeds, and the variance over seeds; "
    "degrees of freedom by Satterthwaite"
)

Run = dict[str, Any]


def shrink_images(images_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, 64, 64) float32 in [0, 1], each pixel the mean of the area it covers.

    Args:
        images_u8: (n, h, w) uint8, gray levels 0..255.
    """
    from services.evaluator.audit.registration import shrink

    return np.asarray(shrink(images_u8, SIZE_PX), np.float32) / np.float32(255)


def choose_as_many(
    available: Sequence[str], wanted: dict[str, int], seed: int
) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Rows of real images, as many of each class as there are synthetic ones, ascending; and how many were missing.

    Args:
        available: the class of every real image.
        wanted: by class, how many; where a class has fewer, all of them are taken.
        seed: of the draw.

    Returns:
        Rows (m,) int64 of `available`, and by class the number missing, without classes that have enough.
    """
    generator = np.random.default_rng(seed)
    rows, missing = [], {}
    for name, n in sorted(wanted.items()):
        found = np.flatnonzero(np.array(list(available), dtype=object) == name)
        rows.append(generator.permutation(found)[:n])
        if len(found) < n:
            missing[name] = n - len(found)
    return np.sort(np.concatenate(rows)).astype(np.int64), missing


def train_and_test(
    images_unit: NDArray[np.float32],
    classes: NDArray[np.int64],
    test_unit: NDArray[np.float32],
    test_classes: NDArray[np.int64],
    *,
    seed: int = 0,
    progress: Progress | None = None,
    n_updates: int = N_UPDATES,
) -> Run:
    """One training from seeded weights, and its accuracy on the test images.

    Args:
        images_unit: (n, 64, 64) float32 in [0, 1], images to learn from.
        classes: (n,) int64 indices into `CLASS_ORDER`.
        test_unit: (m, 64, 64) float32 in [0, 1], real images.
        test_classes: (m,) int64 indices into `CLASS_ORDER`.
        seed: the same seed on the same machine gives the same result, to the bit.
        progress: one unit for each update.
        n_updates: fixed, whatever n, so that sets of different size compare.

    Returns:
        "accuracy" 0..1, "n_train", "n_test", "correct", "confusion" (true by predicted class, in `CLASS_ORDER`),
        "hits" (a string of m characters, 1 where the answer was right) and "seconds".

    Raises:
        TooFewImages: fewer than two classes to learn, or no test image.
    """
    if len(np.unique(classes)) < 2 or not len(test_classes):
        raise TooFewImages("Usefulness needs images of at least two classes to learn from, and one real image to test.")
    progress = progress or NoProgress()
    started = time.perf_counter()

    def after_update(done: int, loss: float) -> None:
        progress.raise_if_cancelled()
        progress.update(done, n_updates)
        if done % 50 == 0:
            progress.note(loss=round(loss, 4))

    network = train_network(images_unit, classes, seed, n_updates, after_update)
    predicted = predict(network, test_unit)
    confusion = np.zeros((len(CLASS_ORDER), len(CLASS_ORDER)), np.int64)
    np.add.at(confusion, (test_classes, predicted), 1)
    hits = predicted == test_classes
    return {
        "accuracy": float(hits.mean()),
        "n_train": len(classes),
        "n_test": len(test_classes),
        "n_updates": n_updates,
        "correct": int(hits.sum()),
        "confusion": confusion.tolist(),
        "hits": "".join("1" if hit else "0" for hit in hits),
        "seconds": round(time.perf_counter() - started, 1),
    }


def summarise_usefulness(runs: list[Run]) -> dict[str, Any]:
    """Mean accuracy after training on synthetic and on real images, and the difference, with 95 % intervals.

    The interval is for another draw of test images and another seed: its variance is that of the seed-averaged hits
    over the test images, divided by their number, plus that of the seeds' accuracies, divided by theirs. The second is
    known from few seeds; Student's t allows for that as far as it counts, with the degrees of freedom of Satterthwaite
    1946 (doi:10.2307/3002019). Real and synthetic runs share test images and seeds, so the difference is taken image by
    image and seed by seed.

    Args:
        runs: results of `train_and_test`, each with "trained_on" (synthetic or real) and "seed" added; all of one
            test set in one order.

    Returns:
        "synthetic", "real": {"accuracy", "interval", "by_seed", "n_train", "n_test", "recall" by class}, None where
        there is no run; "difference": real minus synthetic, as {"accuracy", "interval"}, or None; "interval_method".
    """
    found = {kind: _in_order_of_seeds(runs, kind) for kind in ("synthetic", "real")}
    summary: dict[str, Any] = {kind: _describe(some) if some else None for kind, some in found.items()}
    summary["difference"] = None
    if found["synthetic"] and len(found["synthetic"]) == len(found["real"]):
        gap = _hits(found["real"]) - _hits(found["synthetic"])
        summary["difference"] = {"accuracy": float(gap.mean()), "interval": _interval(gap, -1.0)}
    return summary | {"n_runs": len(runs), "interval_method": INTERVAL_METHOD}


def _in_order_of_seeds(runs: list[Run], kind: str) -> list[Run]:
    return sorted((run for run in runs if run["trained_on"] == kind), key=lambda run: int(run["seed"]))


def _describe(runs: list[Run]) -> dict[str, Any]:
    hits = _hits(runs)
    confusion = np.sum([run["confusion"] for run in runs], axis=0)
    n_true = confusion.sum(axis=1)
    recall = {
        str(name): round(float(confusion[row, row] / n_true[row]), 4)
        for row, name in enumerate(CLASS_ORDER)
        if n_true[row]
    }
    return {
        "accuracy": float(hits.mean()),
        "interval": _interval(hits, 0.0),
        "by_seed": {str(run["seed"]): run["accuracy"] for run in runs},
        "n_train": runs[0]["n_train"],
        "n_test": runs[0]["n_test"],
        "recall": recall,
        "confusion": confusion.tolist(),
    }


def _hits(runs: list[Run]) -> NDArray[np.float64]:
    """(seeds, test images) float64, 1 where the answer was right."""
    return np.array([[float(mark) for mark in run["hits"]] for run in runs])


def _interval(hits: NDArray[np.float64], lowest: float) -> list[float]:
    n_seeds, n_test = hits.shape
    of_images = float(hits.mean(axis=0).var(ddof=1)) / n_test if n_test > 1 else 0.25
    of_seeds = float(hits.mean(axis=1).var(ddof=1)) / n_seeds if n_seeds > 1 else 0.0
    variance = of_images + of_seeds
    # Satterthwaite 1946; a single test image or seed has no variance that could be known badly.
    spread = of_images**2 / max(n_test - 1, 1) + of_seeds**2 / max(n_seeds - 1, 1)
    half = student_quantile(variance**2 / spread) * float(np.sqrt(variance)) if spread > 0 else 0.0
    return [max(lowest, float(hits.mean()) - half), min(1.0, float(hits.mean()) + half)]
