"""A network that updates run through torch.compile learns what it would learn without."""

import shutil

import pytest
import torch

from services.generator.models.network import build_network, place_network
from services.generator.models.preset import UNetConfig
from services.generator.training.batches import Batches
from services.generator.training.data import TrainingData
from services.generator.training.learner import Learner
from tests.services.generator.micro import MICRO, draw_images

CPU = torch.device("cpu")
ONE_LEVEL = MICRO.model_copy(
    update={
        "unet": UNetConfig(channels=(8,), attention_levels=(False,), head_channels=8, norm_groups=4),
        "size_px": 8,
    }
)


def learn(*, compiled: bool) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses and weights of updates on four, four and two images."""
    learner = Learner(ONE_LEVEL, 1, CPU, compiled=compiled)
    batches = Batches(TrainingData(draw_images(10, 8)), ONE_LEVEL, 1, CPU)
    losses = [learner.update(batches.draw(step), step, 3)[0].item() for step in range(3)]
    return losses, learner.weights()["raw"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler: install g++")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of its compiler.
def test_compiled_updates_differ_by_rounding_only() -> None:
    (plain, weights), (compiled, compiled_weights) = (learn(compiled=c) for c in (False, True))
    assert compiled == pytest.approx(plain, rel=1e-2)  # bfloat16 rounds by 4e-3
    assert list(compiled_weights) == list(weights)  # no prefix: checkpoints and exports stay as they are
    start = build_network(ONE_LEVEL.unet, 1).state_dict()
    moved, apart = (
        torch.cat([(weights[name] - other[name]).flatten() for name in weights]).norm()
        for other in (start, compiled_weights)
    )
    assert apart < 0.1 * moved


def test_placing_a_network_on_the_cpu_changes_nothing() -> None:
    network = build_network(MICRO.unet)
    before = {name: (tensor.clone(), tensor.stride()) for name, tensor in network.state_dict().items()}
    placed = place_network(network, CPU).state_dict()
    assert all(torch.equal(placed[name], tensor) for name, (tensor, _) in before.items())
    assert all(placed[name].stride() == stride for name, (_, stride) in before.items())
