"""Precision, recall, density and coverage against their definitions, torch-fidelity, and cases with known answers."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from services.evaluator.metrics.neighbours import (
    NeighbourScores,
    halved_neighbour_scores,
    neighbour_scores,
    squared_distances,
)
from services.evaluator.metrics.samples import FeaturesNotFinite, TooFewImages
from shared.progress import Cancelled, NoProgress


def draw(n: int, d: int, seed: int, shift: float = 0.0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(n, d)) + shift


def by_definition(x: NDArray[np.float64], y: NDArray[np.float64]) -> NeighbourScores:
    """The papers' sums, loop by loop."""

    def reach(sample: NDArray[np.float64], k: int) -> list[float]:
        return [sorted(float(np.linalg.norm(a - b)) for b in sample)[k] for a in sample]

    far = cdist(x, y)
    three_x, three_y, five_y = reach(x, 3), reach(y, 3), reach(y, 5)
    return NeighbourScores(
        precision=float(np.mean([any(far[j, i] <= three_y[i] for i in range(len(y))) for j in range(len(x))])),
        recall=float(np.mean([any(far[j, i] <= three_x[j] for j in range(len(x))) for i in range(len(y))])),
        density=sum(far[j, i] <= five_y[i] for j in range(len(x)) for i in range(len(y))) / (5 * len(x)),
        coverage=float(np.mean([any(far[j, i] <= five_y[i] for j in range(len(x))) for i in range(len(y))])),
    )


@pytest.mark.parametrize(("n1", "n2", "d"), [(20, 31, 3), (31, 20, 12), (12, 12, 40)])
def test_values_are_the_sums_of_the_papers(n1: int, n2: int, d: int) -> None:
    x, y = draw(n1, d, 1, shift=0.4), draw(n2, d, 2)
    found, expected = neighbour_scores(x, y), by_definition(x, y)
    assert vars(found) == pytest.approx(vars(expected), rel=1e-12)
    assert 0 < found.precision < 1 or d == 40


@pytest.mark.parametrize(("n1", "n2", "d"), [(80, 120, 16), (150, 60, 64), (50, 50, 300)])
def test_precision_and_recall_equal_torch_fidelity(n1: int, n2: int, d: int) -> None:
    from torch_fidelity.metric_prc import prc_features_to_metric

    x, y = draw(n1, d, 1, shift=0.3), draw(n2, d, 2)
    options = {"prc_neighborhood": 3, "prc_batch_size": 1000, "save_cpu_ram": False, "verbose": False}
    expected = prc_features_to_metric(torch.from_numpy(x), torch.from_numpy(y), **options)
    found = neighbour_scores(x, y)
    # torch-fidelity takes the mean of booleans in float32.
    assert found.precision == pytest.approx(expected["precision"], abs=1e-7)
    assert found.recall == pytest.approx(expected["recall"], abs=1e-7)


def test_mode_collapse_pins_which_side_is_generated() -> None:
    real = draw(100, 4, 1)
    # All generated images lie beside one real image: each looks real, and they show one kind only.
    collapsed = real[np.argmin((real**2).sum(axis=1))] + 1e-3 * draw(60, 4, 2)
    found = neighbour_scores(collapsed, real)
    assert (found.precision, found.recall) == (1.0, pytest.approx(0.01))
    assert found.density > 1
    assert found.coverage < 0.3
    swapped = neighbour_scores(real, collapsed)
    assert (swapped.precision, swapped.recall) == (pytest.approx(0.01), 1.0)


def test_equal_and_disjoint_samples() -> None:
    x = draw(50, 6, 1)
    same = neighbour_scores(x, x)
    assert (same.precision, same.recall, same.coverage) == (1.0, 1.0, 1.0)
    # Each of the n real balls holds its centre and exactly five others: 6 n pairs over 5 n.
    assert same.density == pytest.approx(6 / 5)
    far = neighbour_scores(x + 1000, x)
    assert (far.precision, far.recall, far.density, far.coverage) == (0.0, 0.0, 0.0, 0.0)


def test_expected_density_and_coverage_of_equal_distributions() -> None:
    # Naeem et al. 2020, section 4.2: E density = 1, and E coverage = 1 - (N-1)...(N-k) / ((2N-1)...(2N-k)) for N = M,
    # whatever the distribution. One of 40 draws has sd below 0.1 and 0.03; four standard errors of the mean.
    n, k = 60, 5
    expected = 1 - np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])
    found = [neighbour_scores(draw(n, 5, s), draw(n, 5, 1000 + s)) for s in range(40)]
    density, coverage = ([getattr(scores, name) for scores in found] for name in ("density", "coverage"))
    assert np.mean(density) == pytest.approx(1.0, abs=4 * np.std(density) / np.sqrt(40))
    assert np.mean(coverage) == pytest.approx(expected, abs=4 * np.std(coverage) / np.sqrt(40))


def test_scale_shift_and_order_do_not_matter() -> None:
    x, y = draw(40, 8, 1, shift=0.3), draw(50, 8, 2)
    expected = vars(neighbour_scores(x, y))
    for moved in ((x * 7 + 300, y * 7 + 300), (x[::-1], y), (x, y[::-1])):
        assert vars(neighbour_scores(*moved)) == expected


def test_equal_rows_are_at_distance_zero_and_others_are_not() -> None:
    x = 1e3 + draw(30, 200, 1)
    near = x[0] + np.eye(200)[3] * 1e-2
    found = squared_distances(np.vstack([x, x]), np.vstack([x, near]))
    assert (np.diagonal(found[:30, :30]) == 0).all()
    assert found[0, 30] == pytest.approx(1e-4, rel=1e-5)
    assert found == pytest.approx(cdist(np.vstack([x, x]), np.vstack([x, near])) ** 2, rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("score", ["precision", "recall", "density", "coverage"])
def test_spread_of_halves_is_the_spread_over_fresh_samples(score: str) -> None:
    # Standard deviations of 80 fresh samples and of 200 halves are known to 8 % and 5 %; the delete-half rule holds
    # for n to infinity, and these scores move a little with n: within a factor of 1.6.
    def sample(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return draw(120, 4, seed, shift=0.5), draw(150, 4, 5000 + seed)

    fresh = np.std([getattr(neighbour_scores(*sample(seed)), score) for seed in range(80)], ddof=1)
    halved = np.mean([np.std(halved_neighbour_scores(*sample(900 + s), n_halves=60)[score]) for s in range(4)])
    assert fresh / 1.6 < halved < fresh * 1.6


def test_halves_do_not_depend_on_how_many_are_drawn() -> None:
    x, y = draw(40, 5, 1), draw(30, 5, 2)
    few, many = (halved_neighbour_scores(x, y, n_halves=n, seed=3)["recall"] for n in (3, 7))
    assert np.array_equal(few, many[:3])
    assert len(halved_neighbour_scores(x[:11], y)["recall"]) == 0


def test_refusals_and_cancelling() -> None:
    x = draw(9, 3, 1)
    with pytest.raises(TooFewImages, match="real side has 5 images"):
        neighbour_scores(x, x[:5])
    broken = x.copy()
    broken[1, 1] = np.inf
    with pytest.raises(FeaturesNotFinite):
        neighbour_scores(x, broken)

    class Stop(NoProgress):
        def raise_if_cancelled(self) -> None:
            raise Cancelled

    with pytest.raises(Cancelled):
        halved_neighbour_scores(draw(20, 3, 1), draw(20, 3, 2), progress=Stop())
