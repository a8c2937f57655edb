"""Usefulness: what a small network learns from synthetic images, tested on real ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.progress import Progress

SIZE_PX = 64


def shrink_images(images_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, 64, 64) float32 in [0, 1], area averages of (n, h, w) uint8 images."""
    raise NotImplementedError


def choose_as_many(
    available: Sequence[str], wanted: dict[str, int], seed: int
) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Rows of real images, as many of each class as there are synthetic ones, and by class how many were missing."""
    raise NotImplementedError


def train_and_test(
    images_unit: NDArray[np.float32],
    classes: NDArray[np.int64],
    test_unit: NDArray[np.float32],
    test_classes: NDArray[np.int64],
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """{"accuracy", "n_train", "n_test", "correct", "confusion" (true x predicted), "seconds"}."""
    raise NotImplementedError


def summarise_usefulness(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean, interval and difference; each run is a result of `train_and_test` with "trained_on" and "seed" added."""
    raise NotImplementedError
