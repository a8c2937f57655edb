"""The figures of the published study, by its own formulas, so that they can be compared with it and with nothing else.

Its Inception Score is the natural exponential of a difference of entropies in bits: exp(H / ln 2) with H in nats.
Since the right score is exp(H), reported = true^(1 / ln 2). Its Fréchet distance is taken in another network
(Keras InceptionV3) after nearest-neighbour resizing.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from services.evaluator.features.extraction import ImageFeatures
from services.evaluator.metrics.assessment import Floor, frechet_entry, inception_entry
from services.evaluator.metrics.samples import check_pair
from shared.progress import Progress

NOT_COMPARABLE = "not comparable"
"""How every such figure is marked."""

KERAS_NETWORK = "Keras InceptionV3, ImageNet, 299 px nearest neighbour"
"""The study's network, in words."""


def score_as_reported(true_score: float) -> float:
    """The Inception Score as the study would have reported it: true^(1 / ln 2), larger than the true one.

    Args:
        true_score: exp of the mean Kullback-Leibler divergence in nats, >= 1.
    """
    return float(true_score ** (1 / math.log(2)))


def score_corrected(reported_score: float) -> float:
    """The true Inception Score from one that the study reported: reported^(ln 2) = reported^0.6931."""
    return float(reported_score ** math.log(2))


def study_scores(
    synthetic: ImageFeatures, real: ImageFeatures, network: str, *, seed: int, progress: Progress
) -> dict[str, Any]:
    """The Inception Score as the study would have reported it, beside the right one, for synthetic and real images.

    Args:
        synthetic: with the probabilities of some network.
        real: likewise.
        network: which, in words.
        seed: of the interval's resamples.
        progress: asked whether to go on.
    """
    entry, beside = (_as_reported(inception_entry(images, seed, progress)) for images in (synthetic, real))
    return {
        "metric": "study_is",
        "label": "Inception score as the study computed it (base-2 entropies)",
        "better": "higher",
        **_marks(network, synthetic, real),
        **entry,
        "real": {**beside, "what": "the real images", "n": [len(real.features)]},
    }


def study_distance(
    synthetic: ImageFeatures, real: ImageFeatures, floor: Floor | None, *, seed: int, progress: Progress
) -> dict[str, Any]:
    """The study's FID: the Fréchet distance in its own network's features.

    The study took the real part of `scipy.linalg.sqrtm`. Ours is the same number wherever that root is stable (to
    1e-5, see the tests); with fewer images than features, as in the study, the product of the covariances is singular,
    scipy's root carries noise of that size or does not exist, and ours is right.

    Args:
        synthetic: features of `keras_inception`.
        real: likewise, of all Training images of the class.
        floor: two real samples; the study's "best possible" baseline where they are Testing and Training.
        seed: of the interval's resamples.
        progress: asked whether to go on.
    """
    entry = _distance_entry(synthetic, real, seed, progress)
    beside = None
    if floor is not None:
        sizes = [len(floor.first.features), len(floor.second.features)]
        beside = {**_distance_entry(floor.first, floor.second, seed, progress), "what": floor.what, "n": sizes}
    return {**_distance_head(), **_marks(KERAS_NETWORK, synthetic, real), **entry, "real": beside}


def missing_study_distance(command: str, synthetic: ImageFeatures, real: ImageFeatures) -> dict[str, Any]:
    """The entry that stands for the study's FID where its network is not installed, with the command that does it."""
    marks = _marks(KERAS_NETWORK, synthetic, real)
    why = f"The weights of the study's network are not installed; run `{command}`."
    return {
        **_distance_head(),
        **marks,
        "available": False,
        "why": why,
        "command": command,
        "value": None,
        "interval": None,
        "real": None,
    }


def mean_over_classes(studies: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The study's own summary of its four classes: the plain mean of each figure over the classes.

    Args:
        studies: one `{"mark", "entries"}` per class, with equal figures.
    """
    entries = []
    for same in zip(*(study["entries"] for study in studies), strict=True):
        mean = {key: same[0][key] for key in ("metric", "label", "better", "network", "comparable", "available")}
        mean |= {key: same[0][key] for key in ("why", "command") if key in same[0]}
        mean |= {key: sum(entry[key] for entry in same) for key in ("n_synthetic", "n_real")}
        mean |= {"label": f"{mean['label']}, mean over {len(same)} classes", "real": None}
        mean |= _means(same)
        if all(entry["real"] for entry in same):
            beside = [entry["real"] for entry in same]
            sizes = [sum(column) for column in zip(*(entry["n"] for entry in beside), strict=True)]
            mean["real"] = {**_means(beside), "what": _whats(beside), "n": sizes}
        entries.append(mean)
    return {"mark": NOT_COMPARABLE, "entries": entries}


def _whats(entries: Sequence[dict[str, Any]]) -> str:
    """What real images the figures of several classes are of; where that differs, in how many classes each."""
    counts = Counter(str(entry["what"]) for entry in entries)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{what} ({n} of {len(entries)} classes)" for what, n in counts.items())


def _means(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The means of one figure's values with an interval: the classes' images are others, so that errors add squared."""
    known = [key for key in ("value", "true_value") if key in entries[0]]
    values = {key: [entry[key] for entry in entries] for key in known}
    means: dict[str, Any] = {key: None if None in column else float(np.mean(column)) for key, column in values.items()}
    if any(entry["interval"] is None for entry in entries):
        return {**means, "interval": None}
    arms = {end: math.hypot(*(entry["interval"][end] - entry["value"] for entry in entries)) for end in ("low", "high")}
    low, high = means["value"] - arms["low"] / len(entries), means["value"] + arms["high"] / len(entries)
    return {**means, "interval": {"low": low, "high": high, "method": "the classes' intervals, as independent errors"}}


def _distance_head() -> dict[str, Any]:
    label = "Fréchet distance by the study's protocol (Keras InceptionV3)"
    return {"metric": "study_fid", "label": label, "better": "lower"}


def _marks(network: str, synthetic: ImageFeatures, real: ImageFeatures) -> dict[str, Any]:
    sizes = {"n_synthetic": len(synthetic.features), "n_real": len(real.features)}
    return {"network": network, "comparable": False, "available": True, **sizes}


def _as_reported(entry: dict[str, Any]) -> dict[str, Any]:
    """An Inception Score's entry turned into the study's unit; the map is monotonic, so that its ends map too."""
    interval = entry["interval"]
    ends = {end: score_as_reported(interval[end]) for end in ("low", "high")}
    return {
        "value": score_as_reported(entry["value"]),
        "true_value": entry["value"],
        "interval": {**interval, **ends},
        "true_interval": interval,
    }


def _distance_entry(
    generated: ImageFeatures, reference: ImageFeatures, seed: int, progress: Progress
) -> dict[str, Any]:
    return frechet_entry(*check_pair(generated.features, reference.features), seed, progress)
