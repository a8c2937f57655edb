import numpy as np
import pytest

from services.evaluator.audit.small_network import SHORTEST_CYCLE, train_network
from services.evaluator.audit.usefulness import choose_as_many, shrink_images, summarise_usefulness, train_and_test
from services.evaluator.metrics.samples import TooFewImages
from shared.progress import Cancelled, NoProgress


def draw_classes(n_each: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright square in one of four corners, on noise."""
    rng = np.random.default_rng(seed)
    classes = np.repeat(np.arange(4), n_each)
    images = rng.uniform(0, 0.5, (len(classes), 64, 64))
    for image, number in zip(images, classes, strict=True):
        y, x = 8 + 32 * (number // 2), 8 + 32 * (number % 2)
        image[y : y + 16, x : x + 16] += 0.5
    return images.astype(np.float32), classes.astype(np.int64)


def run(seed: int, n_updates: int = 25) -> dict:
    return train_and_test(*draw_classes(20, 1), *draw_classes(10, 2), seed=seed, n_updates=n_updates)


def test_separable_classes_are_learnt_and_one_seed_gives_one_result() -> None:
    first, again = run(0), run(0)
    assert first["accuracy"] > 0.6
    assert {**first, "seconds": 0} == {**again, "seconds": 0}
    assert np.sum(first["confusion"]) == first["n_test"] == 40
    assert np.trace(first["confusion"]) == first["correct"] == first["hits"].count("1")


def test_the_number_of_updates_does_not_depend_on_the_number_of_images() -> None:
    seen = []

    class Counting(NoProgress):
        def update(self, done: int, total: int) -> None:
            seen.append((done, total))

    for n_each in (3, 40):
        train_and_test(*draw_classes(n_each, 1), *draw_classes(2, 2), n_updates=3, progress=Counting())
    assert seen == [(1, 3), (2, 3), (3, 3)] * 2


@pytest.mark.parametrize("n_updates", [1, 2, 4, 5, SHORTEST_CYCLE, SHORTEST_CYCLE + 1])
def test_trainings_of_a_few_updates_end_with_finite_weights(n_updates: int) -> None:
    losses: list[float] = []
    network = train_network(*draw_classes(3, 1), 0, n_updates, lambda _, loss: losses.append(loss))
    assert len(losses) == n_updates
    assert all(np.isfinite(parameter.detach().numpy()).all() for parameter in network.parameters())


def test_a_cancelled_training_ends_and_one_class_is_refused() -> None:
    class CancelledProgress(NoProgress):
        def raise_if_cancelled(self) -> None:
            raise Cancelled

    images, classes = draw_classes(5, 1)
    with pytest.raises(Cancelled):
        train_and_test(images, classes, images, classes, progress=CancelledProgress())
    with pytest.raises(TooFewImages):
        train_and_test(images, np.zeros_like(classes), images, classes)
    with pytest.raises(TooFewImages):
        train_and_test(images, classes, images[:0], classes[:0])


def test_as_many_real_images_are_drawn_and_the_missing_are_counted() -> None:
    available = ["glioma"] * 10 + ["notumor"] * 3
    rows, missing = choose_as_many(available, {"glioma": 6, "notumor": 5}, 0)
    assert [available[row] for row in rows] == ["glioma"] * 6 + ["notumor"] * 3
    assert missing == {"notumor": 2}
    assert len(set(rows.tolist())) == 9
    np.testing.assert_array_equal(rows, choose_as_many(available, {"notumor": 5, "glioma": 6}, 0)[0])


def made_run(kind: str, seed: int, hits: np.ndarray) -> dict:
    confusion = np.zeros((4, 4), int)
    confusion[0, 0], confusion[0, 1] = hits.sum(), (1 - hits).sum()
    return {"trained_on": kind, "seed": seed, "accuracy": float(hits.mean()), "n_train": 8, "n_test": len(hits),
            "hits": "".join(str(int(hit)) for hit in hits), "confusion": confusion.tolist()}  # fmt: skip


def test_intervals_hold_the_truth_and_shared_hardness_makes_the_difference_surer() -> None:
    rng = np.random.default_rng(0)
    covered, widths = [], []
    for _ in range(200):
        easy = rng.uniform(0, 1, 300)
        runs = [
            made_run(kind, seed, (easy + 0.02 * rng.normal(size=300) < level).astype(int))
            for seed in range(3)
            for kind, level in (("synthetic", 0.7), ("real", 0.9))
        ]
        summary = summarise_usefulness(runs)
        low, high = summary["synthetic"]["interval"]
        covered.append(low <= 0.7 <= high)
        gap = summary["difference"]["interval"]
        widths.append((gap[1] - gap[0]) / (high - low))
        assert gap[0] <= summary["difference"]["accuracy"] <= gap[1]
    assert np.mean(covered) > 0.9  # 0.95 less three standard errors of a share of 200
    assert np.mean(widths) < 1.0


def test_intervals_hold_the_truth_where_three_seeds_differ_more_than_test_images_do() -> None:
    # Seeds vary by 0.05; the accuracy on 2,000 images by 0.01. The normal quantile would cover 80 of 100.
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(400):
        levels = rng.normal(0.7, 0.05, 3)
        runs = [made_run("real", seed, (rng.random(2000) < level).astype(int)) for seed, level in enumerate(levels)]
        low, high = summarise_usefulness(runs)["real"]["interval"]
        covered.append(low <= 0.7 <= high)
    assert np.mean(covered) > 0.92  # 0.95 less three standard errors of a share of 400


def test_one_seed_leaves_the_test_images_degrees_of_freedom_alone() -> None:
    hits = np.repeat([1, 0], [21, 9])
    low, high = summarise_usefulness([made_run("real", 0, hits)])["real"]["interval"]
    # Student's t of 29 degrees, 2.045230, times sd / sqrt(n).
    assert (low + high) / 2 == pytest.approx(0.7)
    assert (high - low) / 2 == pytest.approx(2.045230 * hits.std(ddof=1) / np.sqrt(30), rel=1e-6)


def test_runs_of_one_kind_are_summarised_without_a_difference() -> None:
    summary = summarise_usefulness([made_run("real", 0, np.ones(5, int))])
    assert summary["synthetic"] is None
    assert summary["difference"] is None
    assert summary["real"]["accuracy"] == 1.0


def test_images_are_shrunk_to_means_in_zero_to_one() -> None:
    small = shrink_images(np.full((2, 256, 256), 51, np.uint8))
    assert small.shape == (2, 64, 64)
    assert small.dtype == np.float32
    np.testing.assert_allclose(small, 0.2, atol=1e-6)
