"""From two sets of features to scores with interval and n, each beside the same score for real images."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from services.evaluator.features.extraction import ImageFeatures
from services.evaluator.metrics.confidence import Interval, affordable_resamples, centred_interval, normal_interval
from services.evaluator.metrics.frechet import frechet_distance, resampled_frechet_distances
from services.evaluator.metrics.inception_score import inception_score, resampled_inception_scores
from services.evaluator.metrics.kernel_distance import kernel_distance
from services.evaluator.metrics.samples import check_pair
from shared.progress import Progress


class Metric(StrEnum):
    """The scores that can be asked for."""

    FID = "fid"
    KID = "kid"
    IS = "is"


LABELS: dict[str, dict[Metric, str]] = {
    "inception": {
        Metric.FID: "Fréchet inception distance (FID)",
        Metric.KID: "Kernel inception distance (KID)",
        Metric.IS: "Inception score (IS)",
    },
    "classifier": {
        Metric.FID: "Fréchet distance, classifier features",
        Metric.KID: "Kernel distance, classifier features",
        Metric.IS: "Inception score, classifier probabilities",
    },
}
"""What each score is called by feature space: only Inception's may bear the published names."""


@dataclass(frozen=True)
class Floor:
    """Two samples of real images, whose distance a perfect generator would reach.

    Attributes:
        first: takes the place of the synthetic images.
        second: takes the place of the real ones.
        what: both in words, for example "real Testing against real Training".
    """

    first: ImageFeatures
    second: ImageFeatures
    what: str


def assess(
    synthetic: ImageFeatures,
    real: ImageFeatures,
    floor: Floor | None,
    *,
    metrics: Sequence[Metric],
    feature_space: str,
    seed: int,
    progress: Progress,
) -> list[dict[str, Any]]:
    """One JSON entry per metric: value, interval, n of both sides, and under `real` the same score for real images.

    Args:
        synthetic: features of the images under test.
        real: features of the images they are compared with.
        floor: two real samples, or None where there are too few real images.
        metrics: which scores.
        feature_space: "inception" or "classifier"; chooses the names.
        seed: of every random draw; same seed, same report.
        progress: asked whether to go on.
    """
    # Checked once for all metrics, so that a NaN is named even where only the Inception Score was asked for.
    check_pair(synthetic.features, real.features)
    entries = []
    for metric in metrics:
        if metric is Metric.IS:
            measured = _inception_entry(synthetic, seed, progress)
            beside = {**_inception_entry(real, seed, progress), "what": "the real images", "n": [len(real.features)]}
        else:
            measured = _distance_entry(metric, synthetic, real, seed, progress)
            beside = _floor_entry(metric, floor, seed, progress)
        entries.append(
            {
                "metric": metric.value,
                "label": LABELS[feature_space][metric],
                "better": "higher" if metric is Metric.IS else "lower",
                "n_synthetic": len(synthetic.features),
                "n_real": len(real.features),
                **measured,
                "real": beside or None,
            }
        )
    return entries


def _floor_entry(metric: Metric, floor: Floor | None, seed: int, progress: Progress) -> dict[str, Any]:
    if floor is None:
        return {}
    entry = _distance_entry(metric, floor.first, floor.second, seed, progress)
    return {**entry, "what": floor.what, "n": [len(floor.first.features), len(floor.second.features)]}


def _distance_entry(
    metric: Metric, generated: ImageFeatures, reference: ImageFeatures, seed: int, progress: Progress
) -> dict[str, Any]:
    x, y = generated.features.astype(np.float64), reference.features.astype(np.float64)
    if metric is Metric.FID:
        value = frechet_distance(x, y)
        n_resamples = affordable_resamples(len(x), len(y))
        resampled = resampled_frechet_distances(x, y, n_resamples=n_resamples, seed=seed, progress=progress)
        interval = centred_interval(value, resampled, lowest=0.0)
        return {"value": value, "interval": _interval_json(interval), "details": {"resampled_sd": _sd(resampled)}}
    found = kernel_distance(x, y, seed=seed, progress=progress)
    jackknifed = normal_interval(found.value, found.standard_error, "jackknife standard error, normal")
    details = {
        "subset_mean": found.subset_mean,
        "subset_sd": found.subset_sd,
        "subset_size": found.subset_size,
        "n_subsets": found.n_subsets,
    }
    return {"value": found.value, "interval": _interval_json(jackknifed), "details": details}


def _inception_entry(images: ImageFeatures, seed: int, progress: Progress) -> dict[str, Any]:
    found = inception_score(images.probabilities, seed=seed)
    resampled = resampled_inception_scores(images.probabilities, n_resamples=200, seed=seed, progress=progress)
    interval = centred_interval(found.value, resampled, lowest=1.0)
    details = {
        "split_mean": found.split_mean,
        "split_sd": found.split_sd,
        "n_splits": found.n_splits,
        "n_classes": int(images.probabilities.shape[1]),
    }
    return {"value": found.value, "interval": _interval_json(interval), "details": details}


def _sd(values: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    return float(values.std(ddof=1))


def _interval_json(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else {"low": interval.low, "high": interval.high, "method": interval.method}
