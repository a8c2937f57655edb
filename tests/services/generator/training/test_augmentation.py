import pytest
import torch
from torch import Generator

from services.generator.training.augmentation import draw_rotations, rotate_images
from services.generator.training.batches import Batches
from services.generator.training.data import TrainingData
from tests.services.generator.micro import MICRO, draw_images


def random_images(n: int, size: int = 16) -> torch.Tensor:
    return torch.rand(n, 1, size, size, generator=Generator().manual_seed(0))


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_are_exact_and_counterclockwise(quarters: int) -> None:
    x = random_images(3)
    turned = rotate_images(x, torch.full((3,), 90.0 * quarters), black=0.0)
    torch.testing.assert_close(turned, torch.rot90(x, quarters, (2, 3)), rtol=0, atol=1e-5)


def test_there_and_back_is_nearly_the_same_inside() -> None:
    y, x = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
    smooth = (torch.exp(-4 * ((x - 0.2) ** 2 + y**2)))[None, None]
    back = rotate_images(rotate_images(smooth, torch.tensor([10.0]), 0.0), torch.tensor([-10.0]), 0.0)
    assert (back - smooth)[..., 8:24, 8:24].abs().max() < 0.02


@pytest.mark.parametrize("black", [-1.0, 0.0])
def test_what_comes_from_outside_is_black_and_unturned_images_are_untouched(black: float) -> None:
    x = torch.ones(3, 1, 16, 16)
    turned = rotate_images(x, torch.tensor([0.0, 45.0, 0.0]), black)
    assert torch.equal(turned[[0, 2]], x[[0, 2]])
    assert turned[1, 0, 0, 0] == black
    assert turned[1].min() == black
    assert turned[1, 0, 8, 8] == pytest.approx(1)
    assert torch.equal(x, torch.ones(3, 1, 16, 16))


def test_angles_are_uniform_for_the_chosen_share() -> None:
    angles = draw_rotations(20_000, 10.0, 0.5, Generator().manual_seed(1))
    chosen = angles[angles != 0]
    assert len(chosen) / 20_000 == pytest.approx(0.5, abs=4 * 0.5 / 20_000**0.5)
    assert chosen.abs().max() <= 10
    assert chosen.mean().item() == pytest.approx(0, abs=4 * 10 / 3**0.5 / 10_000**0.5)
    assert chosen.var().item() == pytest.approx(100 / 3, rel=0.05)
    assert not draw_rotations(100, 10.0, 0.0, Generator()).any()


def test_an_image_turns_by_its_own_angle_in_each_epoch_however_the_epoch_is_cut_into_batches() -> None:
    """Rotation is drawn from (seed, epoch, image): without shuffling differences, the union of batches is the same."""
    images = TrainingData(draw_images(10))
    cpu = torch.device("cpu")

    def epoch(number: int, batch_size: int) -> list[bytes]:
        batches = Batches(images, MICRO.override(rotation_deg=30.0, batch_size=batch_size), 7, cpu)
        steps = range(number * batches.per_epoch, (number + 1) * batches.per_epoch)
        return [image.numpy().tobytes() for step in steps for image in batches.draw(step).x_0]

    assert sorted(epoch(0, 4)) == sorted(epoch(0, 7)) != sorted(epoch(1, 4))
    upright = Batches(images, MICRO, 7, cpu)
    assert torch.equal(upright.draw(0).t, Batches(images, MICRO.override(rotation_deg=30.0), 7, cpu).draw(0).t)


def test_classes_are_withheld_as_often_as_wanted_and_otherwise_right() -> None:
    import numpy as np

    numbers = np.arange(100) % 2
    data = TrainingData(
        np.arange(100, dtype=np.uint8)[:, None, None] + np.zeros((1, 16, 16), np.uint8), classes=numbers
    )
    preset = MICRO.replace({"classes": ["glioma", "notumor"], "class_dropout": 0.25, "batch_size": 100})
    batches = Batches(data, preset, 1, torch.device("cpu"))
    told = []
    for step in range(100):
        batch = batches.draw(step)
        assert batch.classes is not None
        index = ((batch.x_0[:, 0, 0, 0] + 1) / 2 * 255).round().long()
        known = batch.classes != 2
        assert torch.equal(batch.classes[known], torch.from_numpy(numbers)[index][known])
        told.append(known)
    assert torch.cat(told).float().mean().item() == pytest.approx(0.75, abs=4 * (0.1875 / 10_000) ** 0.5)
