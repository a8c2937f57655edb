"""Probabilities and features of images, from a trained classifier given as config and bytes."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from services.classifier.network import (
    FEATURE_LAYER,
    Network,
    as_input,
    build_network,
    load_weights,
)
from services.classifier.presets import NetworkConfig
from shared.errors import InvalidInput

BATCH_SIZE = 32
"""The network always sees this many images; the last batch is padded. An image's numbers depend on it alone, but for
the float32 rounding of its place in the batch: some processors' matrix kernels add the last rows in another order."""


class ImageUnreadable(InvalidInput):
    """The bytes of an image cannot be decoded."""


@dataclasses.dataclass(frozen=True)
class TrainedNetwork:
    """A network with its weights, and the config that says what it takes as input."""

    network: Network
    config: NetworkConfig

    @functools.cached_property
    def feature_network(self) -> Network:
        """The same network, cut before its last dense layer."""
        return keras.Model(self.network.inputs, self.network.get_layer(FEATURE_LAYER).output)


def load_network(config: dict[str, Any], weights: bytes) -> TrainedNetwork:
    """The classifier of a model artifact; built from its config and filled, nothing is unpickled.

    Args:
        config: keys `architecture`, `size_px`, `input_space`; more are ignored.
        weights: safetensors as `weights_to_bytes` made them.
    """
    names = [field.name for field in dataclasses.fields(NetworkConfig)]
    network_config = NetworkConfig(**{name: config[name] for name in names})
    network = build_network(network_config)
    load_weights(network, weights)
    return TrainedNetwork(network, network_config)


def predict(
    trained: TrainedNetwork,
    images_u8: NDArray[np.uint8],
    batch_size: int = BATCH_SIZE,
    check: Callable[[], None] | None = None,
) -> NDArray[np.float32]:
    """The probability of each class of `CLASS_ORDER`.

    Args:
        trained: the classifier.
        images_u8: (N, H, W) uint8 in 0..255, any size.
        batch_size: how many images the network sees at once.
        check: called before each batch; what it raises ends the work.

    Returns:
        (N, 4) float32; each row sums to 1.
    """
    return _in_batches(trained.network, trained.config, images_u8, batch_size, check)


def extract_features(trained: TrainedNetwork, images_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The activations before the last dense layer, on which the evaluator measures distances.

    Args:
        trained: the classifier.
        images_u8: (N, H, W) uint8 in 0..255, any size.

    Returns:
        (N, d) float32; d is 256 for `vgg19`, 128 for `vgg19-compact`. Not normalised.
    """
    return _in_batches(trained.feature_network, trained.config, images_u8, BATCH_SIZE)


def decode_gray(data: bytes) -> NDArray[np.uint8]:
    """The stored image as (H, W) uint8 in 0..255; colour becomes ITU-R BT.601 luma, as OpenCV does.

    Levels of more than 8 bits, which sets have that were never preprocessed, are mapped as preprocessing and
    `/classify` map them: OpenCV would keep the upper 8 of 16 bits, and a 12-bit scan would be black.

    Raises:
        ImageUnreadable: the bytes are no image.
    """
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
    if decoded is not None and decoded.dtype == np.uint8:
        return np.asarray(decoded, np.uint8)
    from services.preprocess.reading import READING_ERRORS, read_gray

    try:
        return read_gray(data).pixels_u8
    except READING_ERRORS as error:
        raise ImageUnreadable("A stored image cannot be decoded; upload the set again.") from error


def fit_size(image_u8: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """The image at the network's size: area average when it shrinks, bilinear when it grows.

    Args:
        image_u8: (H, W) uint8 in 0..255.
        size_px: side of the result in pixels.

    Returns:
        (size_px, size_px) uint8 in 0..255.
    """
    if image_u8.shape == (size_px, size_px):
        return image_u8
    # Area averaging keeps a shrunk image free of aliasing; it does not interpolate when an image grows.
    method = cv2.INTER_AREA if min(image_u8.shape) >= size_px else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image_u8, (size_px, size_px), interpolation=method), np.uint8)


def _in_batches(
    network: Network,
    config: NetworkConfig,
    images_u8: NDArray[np.uint8],
    batch_size: int,
    check: Callable[[], None] | None = None,
) -> NDArray[np.float32]:
    parts = []
    for start in range(0, len(images_u8), batch_size):
        if check is not None:
            check()
        chunk = np.stack([fit_size(image, config.size_px) for image in images_u8[start : start + batch_size]])
        n = len(chunk)
        padded = np.concatenate([chunk, np.repeat(chunk[-1:], batch_size - n, axis=0)])
        parts.append(np.asarray(network.predict_on_batch(as_input(padded, config)), np.float32)[:n])
    return np.concatenate(parts) if parts else np.empty((0, int(network.output_shape[-1])), np.float32)
