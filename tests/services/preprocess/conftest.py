import numpy as np
import pytest


@pytest.fixture
def pixels_u8():
    """(48, 64) uint8: a smooth gradient with a bright square at the upper right; no two quadrants agree."""
    rows, columns = np.mgrid[0:48, 0:64]
    pixels = (rows * 2 + columns).astype(np.uint8)
    pixels[8:16, 40:52] = 250
    return pixels
