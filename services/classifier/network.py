"""The two classifier networks, what they take as input, and their weights as safetensors.

`vgg19` is the study's network (study, section 5.1). `vgg19-compact` keeps its sixteen convolutions in five blocks at a
quarter of the width, adds batch normalisation and replaces the flattened head, so that a CPU trains it in minutes.
Keras 3 code without a line for one backend: TensorFlow trains and serves, torch gives the same probabilities.
"""

import os

# TensorFlow writes start-up notes to stderr unless told otherwise before its first import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import re
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from services.classifier.presets import NetworkConfig
from shared.errors import InvalidInput
from shared.tumour import CLASS_ORDER

Network = Any
"""A `keras.Model`; Keras ships no type information."""

BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""Width and number of 3x3 convolutions per block: VGG-19, configuration E (Simonyan & Zisserman 2015, table 1)."""
TRAINABLE_VGG19 = ("block5_conv2", "block5_conv3", "block5_conv4")
"""The convolutions the study let learn; block5_conv1 stayed frozen (study, section 5.1)."""
FEATURE_LAYER = "features"
"""Name of the layer whose output is the penultimate feature vector, in both networks."""


class WeightsDoNotFit(InvalidInput):
    """The weights do not belong to this network: names or shapes differ."""


def build_network(config: NetworkConfig, library_weights: bytes | None = None) -> Network:
    """An untrained network that ends in a softmax over `CLASS_ORDER`.

    Args:
        config: which network, at what size.
        library_weights: safetensors of the ImageNet VGG-19, keys `<layer>/kernel` and `<layer>/bias`; `vgg19` only.
    """
    if config.size_px < 32:
        raise InvalidInput("The classifier needs images of at least 32 pixels: five poolings halve them five times.")
    network = _build_vgg19(config) if config.architecture == "vgg19" else _build_compact(config)
    if library_weights is not None and config.architecture == "vgg19":
        _load_library_weights(network, library_weights)
    return network


def as_input(images_u8: NDArray[np.uint8], config: NetworkConfig) -> NDArray[np.float32]:
    """The images as the network takes them.

    Args:
        images_u8: (N, H, W) uint8 in 0..255, already of the network's size.
        config: says the value space and so the number of channels.

    Returns:
        (N, H, W, 3) float32 for `raw` and `vgg`, (N, H, W, 1) float32 in [-1, 1] for `pm1`.
    """
    gray = images_u8.astype(np.float32)[..., np.newaxis]
    if config.input_space == "pm1":
        return np.asarray(gray / np.float32(127.5) - np.float32(1.0), np.float32)
    rgb = np.repeat(gray, 3, axis=-1)
    if config.input_space == "raw":
        return rgb
    return np.asarray(keras.applications.vgg19.preprocess_input(rgb), np.float32)


def weights_to_bytes(network: Network) -> bytes:
    """The weights as safetensors keyed by variable path; optimizer and random state are left out."""
    return safetensors.numpy.save(arrays_by_path(network.weights))


def load_weights(network: Network, weights: bytes) -> None:
    """Put safetensors weights into a network that was built here.

    Raises:
        WeightsDoNotFit: names or shapes differ from the network's, or the bytes are not safetensors.
    """
    assign_by_path(network.weights, _read(weights))


def arrays_by_path(variables: Iterable[Any]) -> dict[str, NDArray[Any]]:
    """The variables' values, keyed by a path that is the same in every process."""
    arrays = {_stable_path(v.path): np.array(keras.ops.convert_to_numpy(v.value), order="C") for v in variables}
    return dict(sorted(arrays.items()))


def assign_by_path(variables: Iterable[Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """The reverse of `arrays_by_path`; every variable must be there with its shape, and nothing else."""
    targets = {_stable_path(v.path): v for v in variables}
    if targets.keys() != arrays.keys():
        wrong = sorted(targets.keys() ^ arrays.keys())[:3]
        raise WeightsDoNotFit(f"The weights do not belong to this network; they differ at {', '.join(wrong)}.")
    for path, variable in targets.items():
        if tuple(variable.shape) != arrays[path].shape:
            shapes = f"{arrays[path].shape} instead of {tuple(variable.shape)}"
            raise WeightsDoNotFit(f"The weights do not belong to this network: {path} is {shapes}.")
        variable.assign(arrays[path])


def count_parameters(network: Network) -> tuple[int, int]:
    """Number of parameters in all, and of those that training changes."""
    return network.count_params(), sum(int(np.prod(v.shape)) for v in network.trainable_weights)


def _read(weights: bytes) -> dict[str, NDArray[Any]]:
    try:
        arrays: dict[str, NDArray[Any]] = safetensors.numpy.load(weights)
    except safetensors.SafetensorError as error:
        raise WeightsDoNotFit(f"The weights are not a safetensors file: {error}.") from error
    return arrays


def _stable_path(path: str) -> str:
    # Keras numbers seed generators by a process-wide counter; a layer has at most one, so the number says nothing.
    return re.sub(r"seed_generator_\d+", "seed_generator", path)


def _build_vgg19(config: NetworkConfig) -> Network:
    layers = keras.layers
    trunk = keras.applications.VGG19(
        include_top=False, weights=None, input_shape=(config.size_px, config.size_px, 3), name="vgg19"
    )
    for layer in trunk.layers:
        layer.trainable = layer.name in TRAINABLE_VGG19
    # Head of the study, section 5.1: Flatten, Dropout 0.3, Dense 256 ReLU, Dropout 0.2, Dense 4 softmax.
    x = layers.Flatten(name="flatten")(trunk.output)
    x = layers.Dropout(0.3, name="dropout_flatten")(x)
    x = layers.Dense(256, activation="relu", name=FEATURE_LAYER)(x)
    x = layers.Dropout(0.2, name="dropout_features")(x)
    x = layers.Dense(len(CLASS_ORDER), activation="softmax", name="probabilities")(x)
    return keras.Model(trunk.input, x, name="vgg19")


def _build_compact(config: NetworkConfig) -> Network:
    layers = keras.layers
    channels = 1 if config.input_space == "pm1" else 3
    inputs = x = keras.Input((config.size_px, config.size_px, channels), name="image")
    for block, (width, n_convolutions) in enumerate(BLOCKS, start=1):
        for k in range(1, n_convolutions + 1):
            name = f"block{block}_conv{k}"
            x = layers.Conv2D(width // 4, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=name)(
                x
            )
            # Momentum 0.9 rather than Keras's 0.99: a short training has too few batches for a slow average.
            x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
            x = layers.Activation("relu", name=f"{name}_relu")(x)
        x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    x = layers.GlobalAveragePooling2D(name=FEATURE_LAYER)(x)
    x = layers.Dropout(0.3, name="dropout_features")(x)
    x = layers.Dense(len(CLASS_ORDER), activation="softmax", name="probabilities")(x)
    return keras.Model(inputs, x, name="vgg19_compact")


def _load_library_weights(network: Network, library_weights: bytes) -> None:
    arrays = _read(library_weights)
    convolutions = [v for v in network.weights if v.path.startswith("block")]
    needed = {v.path for v in convolutions}
    missing = sorted(needed - arrays.keys())
    if missing:
        raise WeightsDoNotFit(f"The installed vgg19 library weights lack {', '.join(missing[:3])}; install them again.")
    assign_by_path(convolutions, {path: arrays[path] for path in needed})
