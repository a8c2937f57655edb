import io
import pickle

import pytest
import torch
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet

from services.generator.models.checkpoints import (
    CheckpointDamaged,
    load_network,
    read_tensors,
    write_tensors,
    write_weights,
)
from services.generator.models.weight_files import CheckpointIsPickle
from tests.services.generator.micro import MICRO, random_network


def test_weights_and_preset_come_back_bit_equal() -> None:
    network = random_network(3)
    loaded, preset = load_network(write_weights(network.state_dict(), MICRO))
    assert preset == MICRO
    assert not loaded.training
    saved = network.state_dict()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in loaded.state_dict().items())


def test_equal_weights_give_equal_bytes() -> None:
    assert write_weights(random_network(3).state_dict(), MICRO) == write_weights(random_network(3).state_dict(), MICRO)


def test_monai_alone_can_load_the_weights() -> None:
    tensors, facts = read_tensors(write_weights(random_network(3).state_dict(), MICRO))
    unet = facts["preset"]["unet"]
    folded = unet["patch_px"] ** 2
    monai = DiffusionModelUNet(
        2, folded, folded, unet["res_blocks"], unet["channels"], unet["attention_levels"],
        norm_num_groups=unet["norm_groups"], num_head_channels=unet["head_channels"],
    )  # fmt: skip
    monai.load_state_dict(tensors)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_refused_unopened(zipped: bool) -> None:
    stream = io.BytesIO()
    if zipped:
        torch.save({"weight": torch.ones(2)}, stream)
    else:
        pickle.dump({"weight": [1, 2]}, stream)
    with pytest.raises(CheckpointIsPickle, match=r"safetensors\.torch\.save_file"):
        read_tensors(stream.getvalue())


@pytest.mark.parametrize("damage", ["empty", "cut", "no facts", "noise"])
def test_damaged_bytes_are_named(damage: str) -> None:
    whole = write_tensors({"a": torch.ones(4)}, {"x": 1})
    data = {
        "empty": b"",
        "cut": whole[:-3],
        "no facts": whole.replace(b"synthmri", b"nobodyyy"),
        "noise": bytes(range(200)),
    }[damage]
    with pytest.raises(CheckpointDamaged):
        read_tensors(data)


def test_weights_of_another_network_do_not_fit() -> None:
    state = dict(random_network().state_dict())
    state.pop("conv_in.conv.weight")
    with pytest.raises(CheckpointDamaged, match="do not fit"):
        load_network(write_weights(state, MICRO))
