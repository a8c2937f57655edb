"""Published files become the safetensors that the networks load."""

import io

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import load as load_arrays
from safetensors.torch import load

from services.evaluator.features.extraction import WeightsOfAnotherNetwork
from services.evaluator.weights.conversion import ConversionError, convert_inception, convert_vgg19, vgg19_layers
from tests.services.evaluator.seeded_weights import inception_pth, inception_state, vgg19_h5


def test_inception_keeps_every_number() -> None:
    converted = load(convert_inception(inception_pth()))
    expected = inception_state()
    assert converted.keys() == expected.keys()
    assert all(torch.equal(converted[name], expected[name]) for name in expected)


def test_a_pickle_that_runs_code_is_not_run() -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, ("raise SystemExit('pickle ran')",))

    buffer = io.BytesIO()
    torch.save({"fc.weight": Evil()}, buffer)
    with pytest.raises(ConversionError, match=r"no readable \.pth"):
        convert_inception(buffer.getvalue())


def test_other_files_are_not_inception() -> None:
    with pytest.raises(ConversionError):
        convert_inception(b"\x00" * 100)
    buffer = io.BytesIO()
    torch.save([1, 2], buffer)
    with pytest.raises(ConversionError, match="no dictionary"):
        convert_inception(buffer.getvalue())
    buffer = io.BytesIO()
    torch.save({"weight": torch.zeros(3)}, buffer)
    with pytest.raises(WeightsOfAnotherNetwork):
        convert_inception(buffer.getvalue())


def test_vgg19_layers_are_those_of_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    import keras

    network = keras.applications.VGG19(include_top=False, weights=None, input_shape=(32, 32, 3))
    shapes = {layer.name: layer.kernel.shape for layer in network.layers if hasattr(layer, "kernel")}
    assert {name: tuple(shape) for name, shape in shapes.items()} == {
        name: (3, 3, *channels) for name, channels in vgg19_layers().items()
    }
    assert list(shapes) == list(vgg19_layers())


def test_vgg19_keeps_every_number() -> None:
    converted = load_arrays(convert_vgg19(vgg19_h5()))
    assert len(converted) == 32
    with h5py.File(io.BytesIO(vgg19_h5())) as file:
        assert np.array_equal(converted["block3_conv2/kernel"], file["block3_conv2/block3_conv2_W_1:0"][()])
        assert np.array_equal(converted["block5_conv4/bias"], file["block5_conv4/block5_conv4_b_1:0"][()])


def test_other_files_are_not_vgg19() -> None:
    with pytest.raises(ConversionError, match="no layer block4_conv1"):
        convert_vgg19(vgg19_h5(without="block4_conv1"))
    with pytest.raises(ConversionError, match=r"no readable \.h5"):
        convert_vgg19(b"\x89HDF\r\n\x1a\n" + b"\x00" * 50)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for layer in vgg19_layers():
            file.create_group(layer).create_dataset("kernel", data=np.zeros((3, 3, 1, 1)))
    with pytest.raises(ConversionError, match=r"block1_conv1 has no kernel of shape \(3, 3, 3, 64\)"):
        convert_vgg19(buffer.getvalue())


def test_links_to_other_files_are_not_followed() -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for layer in vgg19_layers():
            group = file.create_group(layer)
            group["kernel"] = h5py.ExternalLink("/etc/hostname", "/kernel")
    with pytest.raises(ConversionError, match="has no kernel"):
        convert_vgg19(buffer.getvalue())
