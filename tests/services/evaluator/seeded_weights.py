"""Weights of the right structure with seeded numbers, since the published ones are not to be had everywhere."""

import io
from collections import OrderedDict
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch_fidelity import feature_extractor_inceptionv3 as upstream

from services.evaluator.weights.conversion import vgg19_layers


def inception_state(seed: int = 0) -> "OrderedDict[str, torch.Tensor]":
    """A state of torch-fidelity's Inception whose activations neither vanish nor explode (He initialisation)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upstream, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(upstream.FeatureExtractorInceptionV3, "load_state_dict", lambda *_, **__: None)
        shapes = upstream.FeatureExtractorInceptionV3("shapes", ["2048"]).state_dict()
    rng = np.random.default_rng(seed)
    state: OrderedDict[str, torch.Tensor] = OrderedDict()
    for name, value in shapes.items():
        # Batch norm starts at its identity; the one bias of the last layer is random upstream and must not be.
        state[name] = torch.zeros_like(value) if name == "fc.bias" else value.clone()
        if value.dim() >= 2:
            scale = np.sqrt(2 / np.prod(value.shape[1:]))
            state[name] = torch.from_numpy(rng.standard_normal(tuple(value.shape), np.float32) * np.float32(scale))
    return state


def inception_pth(seed: int = 0) -> bytes:
    """A .pth file as torch-fidelity publishes one."""
    buffer = io.BytesIO()
    torch.save(inception_state(seed), buffer)
    return buffer.getvalue()


def vgg19_h5(seed: int = 0, *, without: str | None = None) -> bytes:
    """A notop .h5 file with Keras' old names, as the published one has; `without` leaves a layer out."""
    rng = np.random.default_rng(seed)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for layer, (n_in, n_out) in vgg19_layers().items():
            if layer == without:
                continue
            group = file.create_group(layer)
            arrays: dict[str, Any] = {
                f"{layer}_W_1:0": rng.standard_normal((3, 3, n_in, n_out), np.float32),
                f"{layer}_b_1:0": rng.standard_normal(n_out, np.float32),
            }
            for name, array in arrays.items():
                group.create_dataset(name, data=array)
    return buffer.getvalue()


def keras_inception_h5(seed: int = 0) -> bytes:
    """An .h5 file of Keras InceptionV3 with its top, in the old layout, as Keras publishes one."""
    from keras.src.legacy.saving import legacy_h5_format

    from services.evaluator.features.keras_inception import build_keras_inception

    network = build_keras_inception()
    rng = np.random.default_rng(seed)
    arrays = []
    for weight in network.weights:
        # Batch norm starts at its identity; kernels are drawn so that activations keep their size (He).
        array = np.asarray(weight.value.detach().cpu().numpy() if hasattr(weight.value, "detach") else weight.value)
        if array.ndim >= 2:
            scale = np.sqrt(2 / np.prod(array.shape[:-1]))
            array = rng.standard_normal(array.shape, np.float32) * np.float32(scale)
        arrays.append(array)
    network.set_weights(arrays)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)
    return buffer.getvalue()
