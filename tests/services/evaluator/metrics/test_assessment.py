"""Scores carry their n, their interval and the same score for real images; generated and real are not mixed up."""

from typing import Any

import numpy as np
import pytest

from services.evaluator.features.extraction import ImageFeatures
from services.evaluator.metrics.assessment import Floor, Metric, NoClassProbabilities, assess, measurable
from services.evaluator.metrics.inception_score import softmax
from services.evaluator.metrics.samples import FeaturesNotFinite, TooFewImages
from shared.progress import NoProgress


def sample(n: int, seed: int, shift: float = 0.0) -> ImageFeatures:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 12)).astype(np.float32) + np.float32(shift)
    return ImageFeatures(features, softmax(rng.normal(scale=3, size=(n, 4))))


def run(
    synthetic: ImageFeatures, real: ImageFeatures, floor: Floor | None = None, **options: Any
) -> dict[str, dict[str, Any]]:
    arguments: dict[str, Any] = {"metrics": list(Metric), "feature_space": "inception", "seed": 0, **options}
    return {entry["metric"]: entry for entry in assess(synthetic, real, floor, progress=NoProgress(), **arguments)}


def test_every_score_has_n_interval_and_real_beside_it() -> None:
    floor = Floor(sample(40, 5), sample(60, 6), "real Testing against real Training")
    entries = run(sample(50, 1, shift=1.0), sample(60, 2), floor)
    assert list(entries) == list(Metric)
    for entry in entries.values():
        assert (entry["n_synthetic"], entry["n_real"]) == (50, 60)
        assert entry["interval"]["low"] <= entry["value"] <= entry["interval"]["high"]
        assert entry["interval"]["low"] < entry["interval"]["high"]
        assert entry["real"]["what"]
    assert entries["fid"]["real"]["n"] == [40, 60]
    assert entries["is"]["real"]["n"] == [60]
    assert entries["fid"]["value"] > entries["fid"]["interval"]["low"] > entries["fid"]["real"]["value"]


def test_mode_collapse_pins_which_side_is_generated() -> None:
    varied = sample(60, 1)
    collapsed = ImageFeatures(
        np.repeat(varied.features[:1], 60, axis=0), np.repeat(varied.probabilities[:1], 60, axis=0)
    )
    found, swapped = run(collapsed, varied)["is"], run(varied, collapsed)["is"]
    assert found["value"] == pytest.approx(1.0)
    assert found["real"]["value"] > 1.5
    assert swapped["value"] == pytest.approx(found["real"]["value"])


def test_same_seed_same_report() -> None:
    first, second, other = (run(sample(30, 1), sample(40, 2), seed=seed) for seed in (4, 4, 5))
    assert first == second
    assert first["fid"]["value"] == other["fid"]["value"]
    assert first["fid"]["interval"] != other["fid"]["interval"]


def test_only_inception_bears_the_published_names() -> None:
    named = run(sample(20, 1), sample(20, 2), feature_space="classifier")
    assert len(named) == len(Metric)
    assert not any(name in entry["label"] for entry in named.values() for name in ("FID", "KID", "(IS)", "Inception f"))


def test_what_is_not_known_is_null() -> None:
    entries = run(sample(2, 1), sample(2, 2), metrics=[Metric.KID])
    assert entries["kid"]["interval"] is None
    assert entries["kid"]["real"] is None


def test_a_nan_is_named_whatever_was_asked_for() -> None:
    broken = sample(9, 1)
    broken.features[2, 3] = np.nan
    with pytest.raises(FeaturesNotFinite):
        run(broken, sample(9, 2), metrics=[Metric.IS])


def test_by_default_what_the_numbers_allow_and_what_was_asked_for_or_an_error() -> None:
    assert measurable(None, 5, 100) == [Metric.FID, Metric.KID, Metric.IS]
    assert measurable(None, 100, 19) == [metric for metric in Metric if metric is not Metric.FID_INFINITY]
    assert measurable([Metric.KID], 2, 2) == [Metric.KID]
    with pytest.raises(TooFewImages, match="recall needs at least 6 images"):
        measurable([Metric.FID, Metric.RECALL], 5, 100)


def test_a_space_without_class_probabilities_has_no_inception_score() -> None:
    without = [metric for metric in Metric if metric is not Metric.IS]
    assert measurable(None, 100, 100, "radiomics") == without
    assert measurable(None, 100, 100, "classifier") == list(Metric)
    with pytest.raises(NoClassProbabilities, match="score is needs class probabilities"):
        measurable([Metric.FID, Metric.IS], 100, 100, "radiomics")
    bare = [ImageFeatures(sample(30, seed).features, np.empty((30, 0))) for seed in (1, 2)]
    assert list(run(*bare, metrics=without, feature_space="radiomics")) == without


def test_a_floor_too_small_for_a_score_is_left_out_for_that_score() -> None:
    entries = run(sample(30, 1), sample(30, 2), Floor(sample(8, 3), sample(7, 4), "halves"))
    assert entries["coverage"]["real"]["n"] == [8, 7]
    assert entries["coverage"]["real"]["interval"] is None  # half of eight has no fifth neighbour
    assert entries["fid_infinity"]["real"] is None


def test_shares_of_all_or_none_are_as_uncertain_as_their_number_of_images_makes_them() -> None:
    # Twelve images on a spot among forty spread ones are all within the real images' balls, and no half says otherwise.
    real, spot = sample(40, 2), sample(12, 1)
    inside = ImageFeatures(spot.features * np.float32(0.01) + real.features[0], spot.probabilities)
    far = ImageFeatures(spot.features + np.float32(1000), spot.probabilities)
    shares = [Metric.PRECISION, Metric.RECALL, Metric.COVERAGE]
    all_of, none_of = (run(side, real, metrics=shares) for side in (inside, far))
    assert (all_of["precision"]["value"], none_of["precision"]["value"]) == (1.0, 0.0)
    # Wilson's end for n of n is n / (n + z^2), by its definition.
    z2 = 1.959964**2
    for entries, metric, expected in (
        (all_of, "precision", (12 / (12 + z2), 1.0)),
        (none_of, "precision", (0.0, z2 / (12 + z2))),
        (none_of, "recall", (0.0, z2 / (40 + z2))),
        (none_of, "coverage", (0.0, z2 / (40 + z2))),
    ):
        interval = entries[metric]["interval"]
        assert (interval["low"], interval["high"]) == pytest.approx(expected)
        assert interval["method"] == "Wilson"
    varying = run(sample(40, 1), real, metrics=shares)
    assert {entry["interval"]["method"].split(",")[0] for entry in varying.values()} == {"delete-half jackknife"}


def test_no_interval_of_an_inception_score_passes_the_number_of_classes() -> None:
    # Three images of each of four classes, nearly sure: the score is close to its maximum, 4, and resamples are lower.
    sure = np.repeat(np.eye(4), 3, axis=0) * 0.996 + 0.001
    entry = run(ImageFeatures(sample(12, 1).features, sure), sample(12, 2), metrics=[Metric.IS])["is"]
    assert 3.9 < entry["value"] <= entry["interval"]["high"] <= 4
