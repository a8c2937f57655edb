"""The study's figures: the conversion of its Inception Scores is proved on its own columns, its FID against ours."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from numpy.typing import NDArray

from services.evaluator.features.extraction import ImageFeatures
from services.evaluator.metrics.assessment import Floor
from services.evaluator.metrics.inception_score import inception_score, softmax
from services.evaluator.metrics.study_figures import (
    mean_over_classes,
    missing_study_distance,
    score_as_reported,
    score_corrected,
    study_distance,
    study_scores,
)
from shared.progress import NoProgress

REPORTED = {
    # class: reported real, reported generated, corrected real, corrected generated, as the study's table prints them.
    "glioma": (4.3779, 3.3409, 2.783, 2.307),
    "meningioma": (4.2414, 3.5229, 2.722, 2.394),
    "pituitary": (3.0690, 2.3576, 2.176, 1.812),
    "notumor": (3.4265, 3.2558, 2.348, 2.266),
}
MEANS = (3.779, 3.119, 2.507, 2.195)


def images(n: int, seed: int, shift: float = 0.0, d: int = 12) -> ImageFeatures:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, d)).astype(np.float32) + np.float32(shift)
    return ImageFeatures(features, softmax(rng.normal(scale=3, size=(n, 10))))


@pytest.mark.parametrize("tumour_class", REPORTED)
def test_corrected_columns_follow_from_the_reported_ones(tumour_class: str) -> None:
    real, generated, corrected_real, corrected_generated = REPORTED[tumour_class]
    assert round(score_corrected(real), 3) == corrected_real
    assert round(score_corrected(generated), 3) == corrected_generated


def test_the_means_of_the_columns_follow_too() -> None:
    columns = list(zip(*REPORTED.values(), strict=True))
    assert [round(float(np.mean(columns[k])), 3) for k in (0, 1)] == [3.779, 3.119]
    for reported, expected in zip(columns[:2], MEANS[2:], strict=True):
        assert round(float(np.mean([score_corrected(value) for value in reported])), 3) == expected


def test_the_slip_itself_gives_the_same_as_the_conversion() -> None:
    # The study: exp of H(marginal) - mean H(p_i) with base-2 logarithms.
    p = softmax(np.random.default_rng(0).normal(scale=2, size=(50, 20)))

    def entropy_bits(q: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(-(q * np.log2(q)).sum(axis=-1))

    slip = float(np.exp(entropy_bits(p.mean(axis=0)) - entropy_bits(p).mean()))
    assert score_as_reported(inception_score(p).value) == pytest.approx(slip, rel=1e-12)
    assert score_corrected(slip) == pytest.approx(inception_score(p).value, rel=1e-12)
    assert score_as_reported(math.e) == pytest.approx(math.exp(1 / math.log(2)))


@pytest.mark.parametrize(("n1", "n2", "d", "rel"), [(300, 250, 32, 1e-9), (600, 90, 80, 1e-9), (60, 90, 400, 1e-5)])
def test_the_distance_is_that_of_the_studys_own_formula(n1: int, n2: int, d: int, rel: float) -> None:
    # The study: means, unbiased covariances, the real part of scipy's square root of their product. With fewer images
    # than features that root carries noise of about 1e-8 a singular direction.
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n1, d)).astype(np.float32), (rng.normal(size=(n2, d)) * 1.5 + 0.2).astype(np.float32)
    s1, s2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    difference = x.mean(axis=0, dtype=np.float64) - y.mean(axis=0, dtype=np.float64)
    root = np.real(scipy.linalg.sqrtm(s1 @ s2))
    expected = float(difference @ difference + np.trace(s1) + np.trace(s2) - 2 * np.trace(root))
    made = [ImageFeatures(sample, np.full((len(sample), 2), 0.5)) for sample in (x, y)]
    found = study_distance(*made, None, seed=0, progress=NoProgress())
    assert found["value"] == pytest.approx(expected, rel=rel)
    assert found["real"] is None


def test_every_figure_is_marked_and_stands_beside_the_right_one() -> None:
    synthetic, real = images(30, 1, shift=0.5), images(40, 2)
    options: dict[str, Any] = {"seed": 0, "progress": NoProgress()}
    score = study_scores(synthetic, real, "a network", **options)
    assert (score["comparable"], score["network"], score["n_synthetic"], score["n_real"]) == (
        False,
        "a network",
        30,
        40,
    )
    for side in (score, score["real"]):
        assert side["value"] == pytest.approx(side["true_value"] ** (1 / math.log(2)))
        assert side["interval"]["low"] < side["value"] < side["interval"]["high"]
        assert side["true_interval"]["low"] < side["true_value"]
    distance = study_distance(synthetic, real, Floor(images(20, 3), real, "Testing against Training"), **options)
    assert distance["interval"]["low"] < distance["value"] < distance["interval"]["high"]
    assert distance["real"]["n"] == [20, 40]
    missing = missing_study_distance("synthmri weights install keras-inception", synthetic, real)
    assert (missing["available"], missing["value"]) == (False, None)
    assert "synthmri weights install keras-inception" in missing["why"]


def test_the_mean_says_what_each_class_was_compared_with() -> None:
    options: dict[str, Any] = {"seed": 0, "progress": NoProgress()}

    def mean_of(*whats: str) -> Any:
        floors = [Floor(images(20, 3), images(30, 4), what) for what in whats]
        entries = [study_distance(images(20, 1), images(30, 2), floor, **options) for floor in floors]
        return mean_over_classes([{"mark": "", "entries": [entry]} for entry in entries])["entries"][0]["real"]["what"]

    assert mean_of("the splits", "the splits") == "the splits"
    assert mean_of("the splits", "halves", "the splits") == "the splits (2 of 3 classes); halves (1 of 3 classes)"


def test_the_mean_over_classes_is_the_studys_summary() -> None:
    options: dict[str, Any] = {"seed": 0, "progress": NoProgress()}
    studies = []
    for seed in (1, 2):
        synthetic, real = images(20 + seed, seed), images(30, 10 + seed)
        entries = [study_scores(synthetic, real, "a", **options), missing_study_distance("c", synthetic, real)]
        studies.append({"mark": "not comparable", "entries": entries})
    mean = mean_over_classes(studies)["entries"]
    values = [study["entries"][0]["value"] for study in studies]
    assert mean[0]["value"] == pytest.approx(np.mean(values))
    # Errors of independent classes: the mean of two has half the root of their summed squares.
    arms = [study["entries"][0]["interval"]["high"] - study["entries"][0]["value"] for study in studies]
    assert mean[0]["interval"]["high"] - mean[0]["value"] == pytest.approx(np.hypot(*arms) / 2)
    assert mean[0]["interval"]["low"] < mean[0]["value"]
    assert (mean[0]["n_synthetic"], mean[0]["real"]["n"]) == (43, [60])
    assert (mean[1]["value"], mean[1]["available"]) == (None, False)
