"""The networks have the study's parameters, and weights go to bytes and back."""

import keras
import numpy as np
import pytest
import safetensors.numpy

from services.classifier.network import (
    BLOCKS,
    WeightsDoNotFit,
    as_input,
    build_network,
    count_parameters,
    load_weights,
    weights_to_bytes,
)
from services.classifier.presets import PRESETS, NetworkConfig
from shared.errors import InvalidInput

COMPACT = NetworkConfig("vgg19-compact", 32, "pm1")


def test_vgg19_has_the_studys_parameter_counts() -> None:
    network = build_network(PRESETS["study"].network)
    # Study, section 5.1: 28,414,276 in all, 15,469,316 trainable.
    assert count_parameters(network) == (28_414_276, 15_469_316)
    trainable = {v.path.split("/")[0] for v in network.trainable_weights}
    assert trainable == {"block5_conv2", "block5_conv3", "block5_conv4", "features", "probabilities"}


def test_compact_has_the_same_sixteen_convolutions_at_a_quarter_of_the_width() -> None:
    network = build_network(COMPACT)
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.filters for layer in convolutions] == [width // 4 for width, n in BLOCKS for _ in range(n)]
    assert len(convolutions) == 16
    assert all(layer.kernel_size == (3, 3) for layer in convolutions)


@pytest.mark.parametrize("size_px", [32, 50, 96])
def test_compact_takes_any_size_with_the_same_weights(size_px: int) -> None:
    weights = weights_to_bytes(build_network(COMPACT))
    network = build_network(NetworkConfig("vgg19-compact", size_px, "pm1"))
    load_weights(network, weights)
    assert network.output_shape == (None, 4)


def test_a_size_that_five_poolings_would_swallow_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at least 32 pixels"):
        build_network(NetworkConfig("vgg19-compact", 31, "pm1"))


def test_input_spaces() -> None:
    images_u8 = np.array([[[0, 255]]], np.uint8)
    raw = as_input(images_u8, NetworkConfig("vgg19", 256, "raw"))
    assert raw.shape == (1, 1, 2, 3)
    assert raw[0, 0].tolist() == [[0, 0, 0], [255, 255, 255]]
    assert as_input(images_u8, COMPACT)[0, 0].tolist() == [[-1], [1]]
    # Caffe's BGR means of ImageNet, as Keras's VGG preprocessing subtracts them.
    vgg = as_input(images_u8, NetworkConfig("vgg19", 256, "vgg"))
    assert vgg[0, 0, 0].tolist() == pytest.approx([-103.939, -116.779, -123.68])
    assert images_u8.tolist() == [[[0, 255]]]


def test_weights_survive_the_round_trip_bit_for_bit() -> None:
    keras.utils.set_random_seed(1)
    first, second = build_network(COMPACT), build_network(COMPACT)
    weights = weights_to_bytes(first)
    load_weights(second, weights)
    assert weights_to_bytes(second) == weights


def test_weights_of_another_network_are_refused() -> None:
    network = build_network(COMPACT)
    arrays = safetensors.numpy.load(weights_to_bytes(network))
    missing = {k: v for k, v in arrays.items() if k != "probabilities/bias"}
    with pytest.raises(WeightsDoNotFit, match="probabilities/bias"):
        load_weights(network, safetensors.numpy.save(missing))
    with pytest.raises(WeightsDoNotFit, match="probabilities/bias is"):
        load_weights(network, safetensors.numpy.save({**arrays, "probabilities/bias": np.zeros(3, np.float32)}))
    with pytest.raises(WeightsDoNotFit, match="safetensors"):
        load_weights(network, b"not safetensors")


def test_library_weights_fill_the_convolutions_and_nothing_else() -> None:
    config = NetworkConfig("vgg19", 32, "vgg")
    shapes = {v.path: v.shape for v in build_network(config).weights if v.path.startswith("block")}
    assert len(shapes) == 32
    library = {path: np.full(shape, 0.5, np.float32) for path, shape in shapes.items()}
    network = build_network(config, safetensors.numpy.save(library))
    filled = {v.path for v in network.weights if float(keras.ops.min(v)) == float(keras.ops.max(v)) == 0.5}
    assert filled == set(shapes)
    del library["block5_conv4/bias"]
    with pytest.raises(WeightsDoNotFit, match="block5_conv4/bias"):
        build_network(config, safetensors.numpy.save(library))
