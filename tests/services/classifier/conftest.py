"""Small images of four shapes that a classifier can tell apart, one per tumour class."""

import numpy as np
import pytest
from numpy.typing import NDArray


def draw_shapes(n_per_class: int, size_px: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(N, size_px, size_px) uint8 with a disc, a ring, nothing, or a square of random place on noise; and classes."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size_px, :size_px]
    images, classes = [], []
    for k in range(4 * n_per_class):
        image = rng.normal(60, 10, (size_px, size_px))
        y, x = rng.uniform(0.35, 0.65, 2) * size_px
        distance = np.hypot(rows - y, columns - x) / size_px
        if k % 4 == 0:
            image[distance < 0.22] += 120
        elif k % 4 == 1:
            image[(distance > 0.17) & (distance < 0.25)] += 120
        elif k % 4 == 3:
            image[: size_px // 4] += 120
        images.append(image.clip(0, 255).astype(np.uint8))
        classes.append(k % 4)
    return np.stack(images), np.array(classes, np.int64)


@pytest.fixture(scope="session")
def shapes() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return draw_shapes(16, 32, seed=1)


@pytest.fixture(scope="session")
def other_shapes() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return draw_shapes(8, 32, seed=2)
