"""Metrics against closed forms and against each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.classifier import metrics

CLASS_INDICES = st.lists(st.integers(0, 3), min_size=1, max_size=80)


def test_the_studys_fine_tuned_confusion_gives_its_accuracy() -> None:
    # Study, section 7.3, seed 33 after fine-tuning: accuracy .9199; rows true, fixed class order.
    confusion = np.array([[252, 45, 0, 2], [4, 184, 4, 15], [1, 3, 214, 0], [0, 8, 0, 292]], np.int64)
    summary = metrics.summarise(confusion)
    assert summary["accuracy"] == pytest.approx(0.9199, abs=5e-5)
    # Study, section 5.3, "Scenario 5, after fine-tuning", column seed 33, printed to two decimals.
    expected = {"glioma": (0.98, 0.84, 0.91, 299), "meningioma": (0.77, 0.89, 0.82, 207),
                "notumor": (0.98, 0.98, 0.98, 218), "pituitary": (0.94, 0.97, 0.96, 300)}  # fmt: skip
    for name, (precision, recall, f1, support) in expected.items():
        figures = summary["per_class"][name]
        assert round(figures["precision"], 2) == precision
        assert round(figures["recall"], 2) == recall
        assert round(figures["f1"], 2) == f1
        assert figures["support"] == support
    assert [round(summary["macro"][k], 2) for k in ("precision", "recall", "f1")] == [0.92, 0.92, 0.92]
    assert [round(summary["weighted"][k], 2) for k in ("precision", "recall", "f1")] == [0.93, 0.92, 0.92]


def test_rows_are_true_classes_and_columns_predicted_ones() -> None:
    confusion = metrics.confusion_matrix(np.array([0, 0, 0]), np.array([3, 3, 0]))
    assert confusion[0, 3] == 2
    assert confusion[3, 0] == 0


def test_a_perfect_prediction_scores_one_everywhere() -> None:
    index = np.array([0, 1, 2, 3, 3])
    summary = metrics.summarise(metrics.confusion_matrix(index, index))
    assert summary["accuracy"] == 1.0
    assert all(v == 1.0 for v in {**summary["macro"], **summary["weighted"]}.values())


def test_absent_classes_score_zero_and_raise_no_warning() -> None:
    summary = metrics.summarise(metrics.confusion_matrix(np.array([0, 0]), np.array([0, 1])))
    assert summary["per_class"]["pituitary"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    assert summary["per_class"]["glioma"]["f1"] == pytest.approx(2 / 3)


def test_macro_averages_are_of_the_classes_that_occur() -> None:
    """Absent from truth and answers, a class says nothing; one that is only answered, wrongly, counts as 0."""
    index = np.array([0, 2, 2])
    assert metrics.summarise(metrics.confusion_matrix(index, index))["macro"] == {"precision": 1, "recall": 1, "f1": 1}
    wrong = metrics.summarise(metrics.confusion_matrix(np.array([0, 0, 2, 2]), np.array([0, 1, 2, 2])))
    assert wrong["macro"]["recall"] == pytest.approx((0.5 + 0 + 1) / 3)


@given(CLASS_INDICES, st.integers(0, 2**32 - 1))
def test_identities_between_the_metrics(true: list[int], seed: int) -> None:
    true_index = np.array(true)
    predicted = np.random.default_rng(seed).integers(0, 4, len(true))
    confusion = metrics.confusion_matrix(true_index, predicted)
    summary = metrics.summarise(confusion)
    assert confusion.sum() == len(true)
    assert summary["accuracy"] == pytest.approx((true_index == predicted).mean())
    # Weighted recall is accuracy: sum_k (n_k / n) (C_kk / n_k).
    assert summary["weighted"]["recall"] == pytest.approx(summary["accuracy"])
    # Transposing swaps precision and recall, and leaves F1.
    assert metrics.precision(confusion) == pytest.approx(metrics.recall(confusion.T))
    assert metrics.f1(confusion) == pytest.approx(metrics.f1(confusion.T))
    low, high = summary["accuracy_interval_95"]
    assert 0 <= low <= summary["accuracy"] + 1e-12
    assert summary["accuracy"] - 1e-12 <= high <= 1


def test_wilson_interval_meets_its_defining_equation() -> None:
    # The bounds p solve (p_hat - p)^2 = z^2 p (1 - p) / n.
    z = 1.959963984540054
    for bound in metrics.wilson_interval(930, 1000):
        assert (0.93 - bound) ** 2 == pytest.approx(z**2 * bound * (1 - bound) / 1000)
    assert metrics.wilson_interval(0, 0) == (0.0, 1.0)


def test_no_images_give_zero_and_no_error() -> None:
    assert metrics.summarise(np.zeros((4, 4), np.int64))["accuracy"] == 0.0


def test_every_image_needs_a_prediction() -> None:
    with pytest.raises(ValueError, match="one prediction per image"):
        metrics.confusion_matrix(np.array([0, 1]), np.array([0]))
