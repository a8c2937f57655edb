"""Published weights files to safetensors: `python -m services.evaluator.weights.conversion NAME < file > safetensors`.

Run as a process of its own by `library_weights.convert`, so that the api, which imports no deep-learning framework,
stays light. The .pth file is a pickle: it is read with `weights_only=True`, which builds tensors and nothing else.
"""

import io
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

VGG19_WIDTHS = {1: (2, 64), 2: (2, 128), 3: (4, 256), 4: (4, 512), 5: (4, 512)}
"""Convolutions and channels of each block: Simonyan and Zisserman 2014 (arXiv:1409.1556), table 1, column E."""


class ConversionError(ValueError):
    """The file is not what it should be."""


def convert_inception(data: bytes) -> bytes:
    """Safetensors of torch-fidelity's Inception from its .pth file, after loading it into the network."""
    import torch
    from safetensors.torch import save

    from services.evaluator.features.extraction import build_inception

    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises nearly anything at a bad file
        raise ConversionError(f"no readable .pth file ({type(error).__name__})") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ConversionError("the .pth file holds no dictionary of tensors")
    network = build_inception(save({name: value.clone().contiguous() for name, value in state.items()}))
    return save({name: value.contiguous() for name, value in network.state_dict().items()})


def convert_vgg19(data: bytes) -> bytes:
    """Safetensors "<layer>/kernel" (3, 3, in, out) and "<layer>/bias" (out,), float32, from Keras' notop .h5 file."""
    import h5py  # type: ignore[import-untyped]
    from safetensors.numpy import save

    arrays: dict[str, NDArray[np.float32]] = {}
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            for layer, (n_in, n_out) in vgg19_layers().items():
                if not isinstance(file.get(layer), h5py.Group):
                    raise ConversionError(f"there is no layer {layer}")
                found = _plain_arrays(file[layer])
                shapes = {"kernel": (3, 3, n_in, n_out), "bias": (n_out,)}
                for part, shape in shapes.items():
                    if shape not in found:
                        raise ConversionError(f"{layer} has no {part} of shape {shape}")
                    arrays[f"{layer}/{part}"] = found[shape]
    except OSError as error:
        raise ConversionError("no readable .h5 file") from error
    return bytes(save(arrays))


def convert_keras_inception(data: bytes) -> bytes:
    """Safetensors of Keras InceptionV3 with its top from its .h5 file, named by `keras_inception.weight_names`."""
    # This process has torch for Inception; Keras chooses its backend at import.
    os.environ.setdefault("KERAS_BACKEND", "torch")
    from safetensors.numpy import save

    from services.evaluator.features.keras_inception import build_keras_inception, weight_names

    network = build_keras_inception()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "published.h5"
        path.write_bytes(data)
        try:
            network.load_weights(path)
        except OSError as error:
            raise ConversionError("no readable .h5 file") from error
        except Exception as error:  # Keras raises nearly anything at weights of another network
            raise ConversionError(f"not the weights of Keras InceptionV3 ({type(error).__name__})") from error
    arrays = {
        name: np.ascontiguousarray(array, dtype=np.float32)
        for name, array in zip(weight_names(network), network.get_weights(), strict=True)
    }
    return bytes(save(arrays))


def vgg19_layers() -> dict[str, tuple[int, int]]:
    """Input and output channels of VGG-19's sixteen convolutions, by Keras' layer names, in order."""
    layers = {}
    n_in = 3
    for block, (n_convolutions, n_out) in VGG19_WIDTHS.items():
        for k in range(1, n_convolutions + 1):
            layers[f"block{block}_conv{k}"] = (n_in, n_out)
            n_in = n_out
    return layers


def _plain_arrays(group: Any) -> dict[tuple[int, ...], NDArray[np.float32]]:
    """The arrays under a group by shape; links to other files are not followed."""
    import h5py

    found: dict[tuple[int, ...], NDArray[np.float32]] = {}

    def collect(_: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and not item.is_virtual and not item.external:
            found[item.shape] = np.ascontiguousarray(item[()], dtype=np.float32)

    group.visititems(collect)
    return found


def main() -> int:
    """Convert standard input to standard output; 1 and a reason on standard error when it cannot be done."""
    from shared.errors import SynthMRIError

    converters = {
        "inception": convert_inception,
        "vgg19": convert_vgg19,
        "keras-inception": convert_keras_inception,
    }
    try:
        converted = converters[sys.argv[1]](sys.stdin.buffer.read())
    except (ConversionError, SynthMRIError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.buffer.write(converted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
