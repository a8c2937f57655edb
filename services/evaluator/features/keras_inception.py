"""The study's feature space: Keras InceptionV3 with its ImageNet weights, not the Inception of published FIDs.

The study loaded images as RGB, resized them to 299 x 299 by nearest neighbour, scaled them to [-1, 1], and took the
2,048 globally averaged features for its FID and the 1,000 softmax probabilities for its Inception Score. Both come
from the one published file with the top layer; the file without it holds the same convolutions.
"""

from typing import Any

import numpy as np

from services.evaluator.features.extraction import GrayImages, ImageFeatures, WeightsOfAnotherNetwork
from services.evaluator.features.reading import Reading

SIDE_PX = 299
"""Input of InceptionV3: Szegedy et al. 2015 (arXiv:1512.00567), table 1."""

STUDY_READING = Reading((SIDE_PX, SIDE_PX), nearest=True)
"""Keras' `load_img(target_size=...)` takes the nearest pixel by default."""

BATCH = 16
"""Images per call; a shorter batch is padded, so that features do not depend on how many images there are."""


class KerasInceptionExtractor:
    """The pooled features and class probabilities of Keras InceptionV3.

    Args:
        weights: safetensors bytes as `weights.conversion` writes them.
        sha256: hash of those bytes.

    Raises:
        WeightsOfAnotherNetwork: numbers or shapes of the weights do not fit.
    """

    name = "keras-inception"
    version = 1
    batch_size = BATCH

    def __init__(self, weights: bytes, *, sha256: str) -> None:
        import keras

        self.sha256 = sha256
        network = build_keras_inception()
        _set_weights(network, weights)
        self._network = keras.Model(network.input, [network.get_layer("avg_pool").output, network.output])

    def extract_batch(self, images_u8: GrayImages) -> ImageFeatures:
        """Features (n, 2048) and probabilities (n, 1000) of gray images (n, 299, 299) uint8."""
        import keras

        n = len(images_u8)
        padded = np.concatenate([images_u8, np.repeat(images_u8[-1:], self.batch_size - n, axis=0)])
        # InceptionV3's own preprocessing: x / 127.5 - 1, to [-1, 1]; the gray level is repeated over RGB.
        pm1 = padded.astype(np.float32) / 127.5 - 1.0
        outputs = self._network.predict_on_batch(np.repeat(pm1[..., None], 3, axis=-1))
        pooled, probabilities = (np.asarray(keras.ops.convert_to_numpy(output)) for output in outputs)
        return ImageFeatures(pooled[:n].astype(np.float32), probabilities[:n].astype(np.float64))


def build_keras_inception() -> Any:
    """Keras InceptionV3 with its top layer and random weights."""
    import keras

    return keras.applications.InceptionV3(weights=None, include_top=True)


def weight_names(network: Any) -> list[str]:
    """One name per array, in Keras' order: layers are numbered by how many a process has built, so names are ours."""
    return [f"{row:03d}/{weight.name}" for row, weight in enumerate(network.weights)]


def _set_weights(network: Any, weights: bytes) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    names = weight_names(network)
    try:
        arrays = load(weights)
    except SafetensorError as error:
        raise WeightsOfAnotherNetwork("These are not weights of Keras InceptionV3: no safetensors file.") from error
    shapes = [tuple(arrays[name].shape) if name in arrays else None for name in names]
    wrong = [
        name for name, shape, weight in zip(names, shapes, network.weights, strict=True) if shape != tuple(weight.shape)
    ]
    if wrong or len(arrays) != len(names):
        raise WeightsOfAnotherNetwork(
            f"These are not the weights of Keras InceptionV3: {len(wrong)} of {len(names)} arrays are missing or of "
            "another shape."
        )
    network.set_weights([arrays[name] for name in names])
