"""From two sets of features to scores with interval and n, each beside the same score for real images."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.evaluator.features.extraction import ImageFeatures
from services.evaluator.metrics import extrapolation, neighbours
from services.evaluator.metrics.confidence import (
    Interval,
    affordable_resamples,
    centred_interval,
    normal_interval,
    wilson_interval,
)
from services.evaluator.metrics.extrapolation import extrapolate_distance
from services.evaluator.metrics.frechet import frechet_distance, resampled_frechet_distances
from services.evaluator.metrics.inception_score import inception_score, resampled_inception_scores
from services.evaluator.metrics.kernel_distance import kernel_distance
from services.evaluator.metrics.neighbours import halved_neighbour_scores, neighbour_scores
from services.evaluator.metrics.samples import TooFewImages, check_pair
from shared.errors import InvalidInput
from shared.progress import Progress


class Metric(StrEnum):
    """The scores that can be asked for."""

    FID = "fid"
    KID = "kid"
    IS = "is"
    PRECISION = "precision"
    RECALL = "recall"
    DENSITY = "density"
    COVERAGE = "coverage"
    FID_INFINITY = "fid_infinity"


NEIGHBOUR_METRICS = (Metric.PRECISION, Metric.RECALL, Metric.DENSITY, Metric.COVERAGE)
LOWER_IS_BETTER = (Metric.FID, Metric.KID, Metric.FID_INFINITY)

MIN_IMAGES: dict[Metric, int] = {
    **dict.fromkeys(Metric, 2),
    **dict.fromkeys(NEIGHBOUR_METRICS, neighbours.MIN_IMAGES),
    Metric.FID_INFINITY: extrapolation.MIN_IMAGES,
}
"""Fewest images on a side."""

LABELS: dict[str, dict[Metric, str]] = {
    "inception": {
        Metric.FID: "Fréchet inception distance (FID)",
        Metric.KID: "Kernel inception distance (KID)",
        Metric.IS: "Inception score (IS)",
        Metric.PRECISION: "Precision, Inception features",
        Metric.RECALL: "Recall, Inception features",
        Metric.DENSITY: "Density, Inception features",
        Metric.COVERAGE: "Coverage, Inception features",
        Metric.FID_INFINITY: "FID extrapolated to infinite n",
    },
    "classifier": {
        Metric.FID: "Fréchet distance, classifier features",
        Metric.KID: "Kernel distance, classifier features",
        Metric.IS: "Inception score, classifier probabilities",
        Metric.PRECISION: "Precision, classifier features",
        Metric.RECALL: "Recall, classifier features",
        Metric.DENSITY: "Density, classifier features",
        Metric.COVERAGE: "Coverage, classifier features",
        Metric.FID_INFINITY: "Fréchet distance at infinite n, classifier features",
    },
    "radiomics": {
        Metric.FID: "Fréchet radiomics distance (FRD)",
        Metric.KID: "Kernel distance, radiomics features",
        Metric.PRECISION: "Precision, radiomics features",
        Metric.RECALL: "Recall, radiomics features",
        Metric.DENSITY: "Density, radiomics features",
        Metric.COVERAGE: "Coverage, radiomics features",
        Metric.FID_INFINITY: "FRD extrapolated to infinite n",
    },
}
"""What each score is called by feature space, of those it has: only Inception's may bear the published names."""


class NoClassProbabilities(InvalidInput):
    """The Inception Score was asked for in a feature space that knows no classes."""


@dataclass(frozen=True)
class Floor:
    """Two samples of real images, whose distance a perfect generator would reach with as many images.

    Attributes:
        first: takes the place of the synthetic images.
        second: takes the place of the real ones.
        what: both in words, for example "real Testing against real Training".
    """

    first: ImageFeatures
    second: ImageFeatures
    what: str


def measurable(
    metrics: Sequence[Metric] | None, n_synthetic: int, n_real: int, feature_space: str = "inception"
) -> list[Metric]:
    """The scores that were asked for, or by default all that the space has and these numbers of images allow.

    Raises:
        NoClassProbabilities: the Inception Score was asked for by name, and the space has none.
        TooFewImages: a score was asked for by name that needs more images.
    """
    n = min(n_synthetic, n_real)
    if metrics is None:
        return [metric for metric in LABELS[feature_space] if n >= MIN_IMAGES[metric]]
    for metric in metrics:
        if metric not in LABELS[feature_space]:
            raise NoClassProbabilities(
                f"The score {metric.value} needs class probabilities, which features={feature_space} has not; leave it "
                "out, or ask for features=inception or features=classifier."
            )
        if n < MIN_IMAGES[metric]:
            raise TooFewImages(
                f"The score {metric.value} needs at least {MIN_IMAGES[metric]} images on each side; there are "
                f"{n_synthetic} synthetic and {n_real} real ones.",
                n=n,
            )
    return list(metrics)


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
        metrics: which scores; see `measurable`.
        feature_space: a key of `LABELS`; chooses the names.
        seed: of every random draw; same seed, same report.
        progress: asked whether to go on.
    """
    measured = _measure_pair(synthetic, real, metrics, seed, progress)
    beside: dict[Metric, dict[str, Any]] = {}
    if floor is not None:
        sizes = [len(floor.first.features), len(floor.second.features)]
        wanted = [metric for metric in metrics if metric is not Metric.IS and min(sizes) >= MIN_IMAGES[metric]]
        found = _measure_pair(floor.first, floor.second, wanted, seed, progress)
        beside = {metric: {**entry, "what": floor.what, "n": sizes} for metric, entry in found.items()}
    if Metric.IS in metrics:
        entry = inception_entry(real, seed, progress)
        beside[Metric.IS] = {**entry, "what": "the real images", "n": [len(real.features)]}
    return [
        {
            "metric": metric.value,
            "label": LABELS[feature_space][metric],
            "better": "lower" if metric in LOWER_IS_BETTER else "higher",
            "n_synthetic": len(synthetic.features),
            "n_real": len(real.features),
            **measured[metric],
            "real": beside.get(metric),
        }
        for metric in metrics
    ]


def _measure_pair(
    generated: ImageFeatures, reference: ImageFeatures, metrics: Sequence[Metric], seed: int, progress: Progress
) -> dict[Metric, dict[str, Any]]:
    """Value, interval and details of each metric for one pair of samples."""
    # Checked once for all metrics, so that a NaN is named even where only the Inception Score was asked for.
    x, y = check_pair(generated.features, reference.features)
    found: dict[Metric, dict[str, Any]] = {}
    if Metric.FID in metrics:
        found[Metric.FID] = frechet_entry(x, y, seed, progress)
    if Metric.KID in metrics:
        found[Metric.KID] = _kernel_entry(x, y, seed, progress)
    if Metric.IS in metrics:
        found[Metric.IS] = inception_entry(generated, seed, progress)
    if set(metrics) & set(NEIGHBOUR_METRICS):
        found |= _neighbour_entries(x, y, seed, progress)
    if Metric.FID_INFINITY in metrics:
        found[Metric.FID_INFINITY] = _extrapolated_entry(x, y, seed, progress)
    return found


def frechet_entry(x: NDArray[np.float64], y: NDArray[np.float64], seed: int, progress: Progress) -> dict[str, Any]:
    """The Fréchet distance of features x (n1, d) from y (n2, d) with its bootstrap interval."""
    value = frechet_distance(x, y)
    n_resamples = affordable_resamples(len(x), len(y))
    resampled = resampled_frechet_distances(x, y, n_resamples=n_resamples, seed=seed, progress=progress)
    interval = centred_interval(value, resampled, lowest=0.0)
    details = {"resampled_sd": float(resampled.std(ddof=1))}
    return {"value": value, "interval": _interval_json(interval), "details": details}


def _kernel_entry(x: NDArray[np.float64], y: NDArray[np.float64], seed: int, progress: Progress) -> dict[str, Any]:
    found = kernel_distance(x, y, seed=seed, progress=progress)
    jackknifed = normal_interval(found.value, found.standard_error, "jackknife standard error, normal")
    details = {
        "subset_mean": found.subset_mean,
        "subset_sd": found.subset_sd,
        "subset_size": found.subset_size,
        "n_subsets": found.n_subsets,
    }
    return {"value": found.value, "interval": _interval_json(jackknifed), "details": details}


def _neighbour_entries(
    x: NDArray[np.float64], y: NDArray[np.float64], seed: int, progress: Progress
) -> dict[Metric, dict[str, Any]]:
    found = neighbour_scores(x, y)
    halved = halved_neighbour_scores(x, y, seed=seed, progress=progress)
    entries = {}
    for metric in NEIGHBOUR_METRICS:
        value, values = getattr(found, metric.value), halved[metric.value]
        counted = None if metric is Metric.DENSITY else len(x) if metric is Metric.PRECISION else len(y)
        interval = _halved_interval(value, values, counted) if len(values) else None
        first = metric in (Metric.PRECISION, Metric.RECALL)
        k = neighbours.PRECISION_NEIGHBOUR if first else neighbours.DENSITY_NEIGHBOUR
        entries[metric] = {"value": value, "interval": _interval_json(interval), "details": {"neighbour": k}}
    return entries


def _halved_interval(value: float, halved: NDArray[np.float64], counted: int | None) -> Interval:
    """The interval of a score from that of random halves; Wilson's where they give that of a share no width.

    Args:
        value: the score.
        halved: (n_halves,) the score of random halves.
        counted: of how many images the score is a share; None where it is none.
    """
    method = f"delete-half jackknife, {len(halved)} random halves"
    highest = np.inf if counted is None else 1.0
    interval = centred_interval(value, halved, lowest=0.0, highest=highest, method=method)
    if counted is None or interval.low < interval.high:
        return interval
    return Interval(*wilson_interval(round(value * counted), counted), "Wilson")


def _extrapolated_entry(
    x: NDArray[np.float64], y: NDArray[np.float64], seed: int, progress: Progress
) -> dict[str, Any]:
    found = extrapolate_distance(x, y, seed=seed, progress=progress)
    half = extrapolation.T_QUANTILE * found.standard_error
    method = f"delete-a-group jackknife, {extrapolation.N_GROUPS} groups, Student's t"
    interval = Interval(found.value - half, found.value + half, method)
    details = {"slope": found.slope, "r2": found.r2, "points": [list(point) for point in found.points]}
    return {"value": found.value, "interval": _interval_json(interval), "details": details}


def inception_entry(images: ImageFeatures, seed: int, progress: Progress) -> dict[str, Any]:
    """The Inception Score of one set of images with its bootstrap interval."""
    found = inception_score(images.probabilities, seed=seed)
    resampled = resampled_inception_scores(images.probabilities, n_resamples=200, seed=seed, progress=progress)
    n_classes = int(images.probabilities.shape[1])
    # Salimans et al. 2016: exp of a mutual information with the class, at most ln n_classes.
    interval = centred_interval(found.value, resampled, lowest=1.0, highest=float(n_classes))
    details = {
        "split_mean": found.split_mean,
        "split_sd": found.split_sd,
        "n_splits": found.n_splits,
        "n_classes": n_classes,
    }
    return {"value": found.value, "interval": _interval_json(interval), "details": details}


def _interval_json(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else {"low": interval.low, "high": interval.high, "method": interval.method}
