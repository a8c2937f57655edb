"""Where in the image a classifier looks: how much its belief drops when a patch is hidden."""

import cv2
import numpy as np
from numpy.typing import NDArray

from services.classifier.inference import TrainedNetwork, fit_size, predict

GRID = 8
"""Patches per side: 64 further calls of the network, in batches."""
SHOWN_PX = 256


def occlusion_map(trained: TrainedNetwork, image_u8: NDArray[np.uint8], class_index: int) -> NDArray[np.float32]:
    """The drop of one class's probability when each patch is covered with the image's mean gray.

    Zeiler & Fergus 2014 (arXiv:1311.2901), section 4.2. Positive where the patch speaks for the class. It explains
    this network's answer and is no outline of a tumour.

    Args:
        trained: the classifier.
        image_u8: (H, W) uint8 in 0..255.
        class_index: into `CLASS_ORDER`.

    Returns:
        (8, 8) float32 in [-1, 1].
    """
    size_px = trained.config.size_px
    image = fit_size(image_u8, size_px)
    edges = np.linspace(0, size_px, GRID + 1).astype(int)
    hidden = np.repeat(image[np.newaxis], GRID**2, axis=0)
    for k in range(GRID**2):
        row, column = divmod(k, GRID)
        hidden[k, edges[row] : edges[row + 1], edges[column] : edges[column + 1]] = round(float(image.mean()))
    belief = predict(trained, image[np.newaxis])[0, class_index]
    drops = belief - predict(trained, hidden)[:, class_index]
    return np.asarray(drops.reshape(GRID, GRID), np.float32)


def draw_heat_map(image_u8: NDArray[np.uint8], drops: NDArray[np.float32]) -> bytes:
    """A PNG of the image with the patches that speak for the class in warm colours.

    Args:
        image_u8: (H, W) uint8 in 0..255.
        drops: (8, 8) float32 from `occlusion_map`.
    """
    strength = np.clip(drops, 0, None)
    strength = strength / max(float(strength.max()), 1e-6)
    warm = cv2.resize(strength, (SHOWN_PX, SHOWN_PX), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    colours = cv2.applyColorMap((warm * 255).astype(np.uint8), cv2.COLORMAP_INFERNO).astype(np.float32)
    gray = cv2.cvtColor(fit_size(image_u8, SHOWN_PX), cv2.COLOR_GRAY2BGR).astype(np.float32)
    share = 0.6 * warm[..., np.newaxis]
    blended = (gray * (1 - share) + colours * share).astype(np.uint8)
    return bytes(cv2.imencode(".png", blended)[1])
