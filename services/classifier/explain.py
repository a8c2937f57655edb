"""Where in the image a classifier finds its answer: an 8 x 8 map, by whichever way is quick for the network.

Both maps explain this network's answer; neither is an outline of a tumour.
"""

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from services.classifier.inference import TrainedNetwork, fit_size, predict
from services.classifier.network import FEATURE_LAYER, as_input

GRID = 8
SHOWN_PX = 256


def explain(trained: TrainedNetwork, image_u8: NDArray[np.uint8], class_index: int) -> NDArray[np.float32]:
    """The map of the image's parts that speak for (positive) or against (negative) the class.

    The compact network's last feature map has only 2 x 2 cells at 64 px, but 64 calls of it take a moment; the full
    VGG-19 is the reverse.

    Args:
        trained: the classifier.
        image_u8: (H, W) uint8 in 0..255.
        class_index: into `CLASS_ORDER`.

    Returns:
        (rows, columns) float32.
    """
    method = contribution_map if trained.config.architecture == "vgg19" else occlusion_map
    return method(trained, image_u8, class_index)


def contribution_map(trained: TrainedNetwork, image_u8: NDArray[np.uint8], class_index: int) -> NDArray[np.float32]:
    """What each cell of the last feature map of `vgg19` adds to the class's logit.

    HiResCAM, gradient times activation summed over channels (Draelos & Carin 2020, arXiv:2011.08891, eq. 4). The head
    is two dense layers, so its gradient is written out: d logit / d x = W1 (1[h > 0] * W2).

    Args:
        trained: a `vgg19` classifier.
        image_u8: (H, W) uint8 in 0..255.
        class_index: into `CLASS_ORDER`.

    Returns:
        (size_px / 32, size_px / 32) float32, in units of the logit.
    """
    network = trained.network
    layers = [network.get_layer("block5_pool").output, network.get_layer(FEATURE_LAYER).output]
    fitted = fit_size(image_u8, trained.config.size_px)[np.newaxis]
    maps, hidden = keras.Model(network.inputs, layers).predict_on_batch(as_input(fitted, trained.config))
    first = keras.ops.convert_to_numpy(network.get_layer(FEATURE_LAYER).kernel)
    second = keras.ops.convert_to_numpy(network.get_layer("probabilities").kernel)[:, class_index]
    gradient = (first @ (second * (hidden[0] > 0))).reshape(maps[0].shape)
    return np.asarray((gradient * maps[0]).sum(axis=-1), np.float32)


def occlusion_map(trained: TrainedNetwork, image_u8: NDArray[np.uint8], class_index: int) -> NDArray[np.float32]:
    """The drop of one class's probability when each patch is covered with the image's mean gray.

    Zeiler & Fergus 2014 (arXiv:1311.2901), section 4.2. Positive where the patch speaks for the class.

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


def draw_heat_map(image_u8: NDArray[np.uint8], speaks_for: NDArray[np.float32]) -> bytes:
    """A PNG of the image with the patches that speak for the class in warm colours.

    Args:
        image_u8: (H, W) uint8 in 0..255.
        speaks_for: (rows, columns) float32 from `explain`.
    """
    strength = np.clip(speaks_for, 0, None)
    strength = strength / max(float(strength.max()), 1e-6)
    warm = cv2.resize(strength, (SHOWN_PX, SHOWN_PX), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    colours = cv2.applyColorMap((warm * 255).astype(np.uint8), cv2.COLORMAP_INFERNO).astype(np.float32)
    gray = cv2.cvtColor(fit_size(image_u8, SHOWN_PX), cv2.COLOR_GRAY2BGR).astype(np.float32)
    share = 0.6 * warm[..., np.newaxis]
    blended = (gray * (1 - share) + colours * share).astype(np.uint8)
    return bytes(cv2.imencode(".png", blended)[1])
