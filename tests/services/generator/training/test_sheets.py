import numpy as np
import pytest
import torch

from services.generator.images import decode_gray
from services.generator.sampling.drawing import SamplingPlan, sample_images
from services.generator.sampling.samplers import build_sampler
from services.generator.training.sheets import STEPS, arrange_images, draw_sheet
from services.generator.training.validation import HeldOutImages
from shared.progress import Cancelled, NoProgress
from tests.services.generator.micro import MICRO, Recorder, random_network


def test_images_stand_in_reading_order_and_gaps_are_black() -> None:
    images_u8 = np.arange(1, 6, dtype=np.uint8)[:, None, None] + np.zeros((1, 2, 3), np.uint8)
    grid = arrange_images(images_u8, 4)
    assert grid.shape == (4, 12)
    assert grid[::2, ::3].tolist() == [[1, 2, 3, 4], [5, 0, 0, 0]]


@pytest.mark.parametrize(("asked", "drawn"), [("ddim", "ddim"), ("ddpm", "ddim"), ("dpm++", "dpm++")])
def test_a_sheet_shows_the_first_images_of_its_seed_drawn_with_the_given_weights(asked: str, drawn: str) -> None:
    preset = MICRO.override(sampler=asked)
    other, network = random_network(5), random_network(0)
    sheet = draw_sheet(other, network.state_dict(), preset, seed=3, progress=NoProgress())
    plan = SamplingPlan(16, (-1.0, 1.0), 3, range(8), 8)
    sampler = build_sampler(drawn, STEPS, preset.schedule)  # type: ignore[arg-type]
    images = [image for _, image in sample_images(network, sampler, plan, progress=NoProgress())]
    np.testing.assert_array_equal(decode_gray(sheet), arrange_images(np.stack(images), 4))
    assert not torch.equal(next(other.parameters()), next(network.parameters()))  # the network trained on is untouched


def test_a_sheet_asks_at_each_step_whether_to_go_on_and_counts_for_nothing() -> None:
    progress = Recorder()
    draw_sheet(random_network(), random_network().state_dict(), MICRO, seed=0, progress=progress)
    assert (progress.asked, progress.updates, progress.notes) == (STEPS, [], [])
    with pytest.raises(Cancelled):
        draw_sheet(random_network(), random_network().state_dict(), MICRO, seed=0, progress=Recorder(stop_at=3))


@pytest.mark.parametrize("n_images", [1, 7, 40])
def test_timesteps_of_the_validation_are_one_in_each_equal_part(n_images: int) -> None:
    held_out = HeldOutImages(torch.zeros(n_images, 1, 4, 4), None, 1000, torch.Generator().manual_seed(1), 8)
    parts = (held_out._t * n_images // 1000).sort().values
    assert torch.equal(parts, torch.arange(n_images))
