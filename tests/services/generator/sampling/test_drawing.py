import contextlib

import numpy as np
import pytest
import torch
from monai.inferers.inferer import DiffusionInferer
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from monai.networks.schedulers.ddpm import DDPMScheduler

from services.generator.images import ImageU8, decode_gray, encode_png, enlarge_image
from services.generator.models.footprint import BatchDoesNotFit
from services.generator.models.preset import SAMPLER_NAMES, SamplerName, ScheduleConfig, UNetConfig
from services.generator.sampling.drawing import (
    SamplesNotFinite,
    SamplingPlan,
    denoise_batch,
    sample_images,
)
from services.generator.sampling.recipe import SamplingPrecision
from services.generator.sampling.samplers import build_sampler
from services.generator.streams import Stream, open_stream
from services.generator.training.batches import scale_images
from shared.progress import Cancelled, NoProgress, Stopping
from tests.services.generator.micro import PerfectPredictor, Recorder, draw_images, random_network

SCHEDULE = ScheduleConfig()
PM1 = (-1.0, 1.0)


def draw(
    indices: range,
    batch_size: int,
    *,
    sampler: SamplerName = "ddim",
    seed: int = 0,
    precision: SamplingPrecision = "float32",
) -> dict[int, ImageU8]:
    plan = SamplingPlan(16, PM1, seed, indices, batch_size, precision=precision)
    chosen = build_sampler(sampler, 8, SCHEDULE)
    return dict(sample_images(random_network(), chosen, plan, progress=NoProgress()))


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
@pytest.mark.parametrize("steps", [1, 2, 10, 20, 600, 1000])
@pytest.mark.parametrize(
    ("betas", "prediction"), [("linear", "epsilon"), ("linear", "v_prediction"), ("cosine", "v_prediction")]
)
def test_a_perfect_predictor_recovers_the_clean_image(
    sampler: SamplerName, steps: int, betas: str, prediction: str
) -> None:
    """The last step returns the predicted x_0 itself, so only float32 rounding of that one step is left."""
    images_u8 = draw_images(4)
    x_0 = scale_images(images_u8, PM1)
    plan = SamplingPlan(16, PM1, 3, range(4), 4)
    schedule = ScheduleConfig.model_validate({"betas": betas, "prediction": prediction})
    chosen = build_sampler(sampler, steps, schedule)
    drawn = dict(sample_images(PerfectPredictor(x_0, schedule), chosen, plan, progress=NoProgress()))
    np.testing.assert_array_equal(np.stack([drawn[k] for k in range(4)]), images_u8)


def test_rows_and_columns_stay_as_stored_from_pixels_to_png() -> None:
    image_u8 = draw_images(1)[0]
    assert not np.array_equal(image_u8, image_u8.T)
    assert not np.array_equal(image_u8, image_u8[:, ::-1])
    network = PerfectPredictor(scale_images(image_u8[None], PM1), SCHEDULE)
    plan = SamplingPlan(16, PM1, 0, [0], 1)
    ((_, drawn_u8),) = sample_images(network, build_sampler("ddim", 4, SCHEDULE), plan, progress=NoProgress())
    np.testing.assert_array_equal(decode_gray(encode_png(enlarge_image(drawn_u8, 16))), image_u8)


def test_one_image_equals_monais_inferer_from_the_same_noise() -> None:
    """MONAI draws from the global generator: seeded as image 0's own, it gives x_T and then each step's noise alike."""
    config = UNetConfig(channels=(8, 16), attention_levels=(False, True), head_channels=8, norm_groups=4)
    ours = random_network(0, config)
    theirs = DiffusionModelUNet(2, 1, 1, 1, (8, 16), (False, True), norm_num_groups=4, num_head_channels=8).eval()
    theirs.load_state_dict(ours.state_dict())
    schedule = ScheduleConfig(train_steps=100)
    plan = SamplingPlan(16, (0.0, 1.0), 5, [0], 1)
    generator = open_stream(5, Stream.IMAGE, 0)
    sampler = build_sampler("ddpm", 100, schedule)
    x_0 = denoise_batch(ours, sampler, plan, [generator], NoProgress(), torch.device("cpu"))
    scheduler = DDPMScheduler(100)
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(open_stream(5, Stream.IMAGE, 0).get_state())
        noise = torch.randn(1, 1, 16, 16)
        expected = DiffusionInferer(scheduler).sample(noise, theirs, scheduler, verbose=False)
    assert torch.equal(x_0, expected)


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_images_do_not_depend_on_shard_or_neighbours(sampler: SamplerName, precision: SamplingPrecision) -> None:
    whole = draw(range(11), 4, sampler=sampler, precision=precision)
    parts = draw(range(5), 4, sampler=sampler, precision=precision)
    parts |= draw(range(5, 11), 4, sampler=sampler, precision=precision)
    alone = draw(range(9, 10), 4, sampler=sampler, precision=precision)
    assert list(whole) == list(range(11))
    for k in range(11):
        np.testing.assert_array_equal(whole[k], parts[k])
    np.testing.assert_array_equal(whole[9], alone[9])


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
def test_batches_of_1_7_and_64_agree(sampler: SamplerName) -> None:
    """The stated tolerance: one gray level of 255, in at most 2 % of the pixels.

    A float32 network's output moves by some 1e-6 with the batch shape (1.2e-7 an operation). The predicted x_0 takes it
    times 1 / sqrt(alpha_bar), at most 157 (t = 999): 1.6e-4 of [-1, 1] or 0.02 gray levels. Values e < 1 levels apart
    round to levels at most one apart, and to different ones with probability e.
    """
    bound_levels = 1e-6 * 157 * 127.5
    chosen, network = build_sampler(sampler, 8, SCHEDULE), random_network()

    def denoise(indices: range, batch_size: int) -> torch.Tensor:
        generators = [open_stream(0, Stream.IMAGE, k) for k in indices]
        plan = SamplingPlan(16, PM1, 0, indices, batch_size)
        return denoise_batch(network, chosen, plan, generators, NoProgress(), torch.device("cpu"))[: len(indices)]

    alone = torch.cat([denoise(range(k, k + 1), 1) for k in range(7)])
    alone_u8 = draw(range(7), 1, sampler=sampler)
    for size in (7, 64):
        assert float((denoise(range(7), size) - alone).abs().max()) * 127.5 < bound_levels
        drawn = draw(range(7), size, sampler=sampler)
        differences = np.stack([np.abs(drawn[k].astype(int) - alone_u8[k].astype(int)) for k in range(7)])
        assert differences.max() <= 1
        assert (differences > 0).mean() <= bound_levels


def test_seeds_and_indices_give_independent_images() -> None:
    first, second = draw(range(2), 2, seed=0), draw(range(2), 2, seed=1)
    distinct = {image.tobytes() for image in (*first.values(), *second.values())}
    assert len(distinct) == 4


def test_what_is_no_number_is_no_image() -> None:
    network = PerfectPredictor(torch.full((1, 1, 16, 16), float("nan")), SCHEDULE)
    plan = SamplingPlan(16, PM1, 0, [3, 4], 2)
    with pytest.raises(SamplesNotFinite, match=r"Image 3 .* Train again"):
        list(sample_images(network, build_sampler("dpm++", 4, SCHEDULE), plan, progress=NoProgress()))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 17179869184 bytes"
        ),
    ],
)
def test_a_batch_that_does_not_fit_is_named(error: Exception) -> None:
    class Greedy(torch.nn.Module):
        def forward(self, x_t: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
            raise error

    plan = SamplingPlan(16, PM1, 0, range(4), 2)
    with pytest.raises(
        BatchDoesNotFit, match=r"A batch of 2 images of 16 px .* than cpu has free.* smaller batch_size"
    ):
        list(sample_images(Greedy(), build_sampler("ddim", 4, SCHEDULE), plan, progress=NoProgress()))


def test_the_cpus_own_words_for_no_memory_are_understood() -> None:
    class Greedy(torch.nn.Module):
        def forward(self, x_t: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
            return torch.empty(2**60, dtype=torch.uint8)

    plan = SamplingPlan(16, PM1, 0, range(4), 2)
    with pytest.raises(BatchDoesNotFit):
        list(sample_images(Greedy(), build_sampler("ddim", 4, SCHEDULE), plan, progress=NoProgress()))


@pytest.mark.parametrize("stop_at", [None, 2])
def test_convolutions_are_not_rounded_to_tf32_while_images_are_drawn(stop_at: int | None) -> None:
    seen: list[bool] = []

    class Looking(PerfectPredictor):
        def forward(self, x_t: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
            seen.append(torch.backends.cudnn.allow_tf32)
            return super().forward(x_t, timesteps)

    before = torch.backends.cudnn.allow_tf32
    assert before  # torch's default
    network, plan = Looking(torch.zeros(2, 1, 16, 16), SCHEDULE), SamplingPlan(16, PM1, 0, range(4), 2)
    with contextlib.suppress(Cancelled):
        for _ in sample_images(network, build_sampler("ddim", 4, SCHEDULE), plan, progress=Recorder(stop_at)):
            assert torch.backends.cudnn.allow_tf32 == before  # Between batches too, whoever works then.
    assert torch.backends.cudnn.allow_tf32 == before
    assert seen == [False] * (stop_at or 8)


@pytest.mark.parametrize("how", [Cancelled, Stopping])
def test_cancel_stops_within_one_step(how: type[Exception]) -> None:
    calls = 0

    class Counting(PerfectPredictor):
        def forward(self, x_t: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
            nonlocal calls
            calls += 1
            return super().forward(x_t, timesteps)

    network = Counting(torch.zeros(2, 1, 16, 16), SCHEDULE)
    progress = Recorder(stop_at=13, how=how)
    plan = SamplingPlan(16, PM1, 0, range(6), 2)
    drawing = sample_images(network, build_sampler("ddim", 10, SCHEDULE), plan, progress=progress)
    assert [next(drawing)[0], next(drawing)[0]] == [0, 1]
    with pytest.raises(how):
        next(drawing)
    assert calls == 13
    assert progress.updates == [(2, 6)]


def test_the_global_random_state_is_neither_read_nor_changed() -> None:
    before = torch.get_rng_state()
    first = draw(range(2), 2, sampler="ddpm")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    np.testing.assert_array_equal(draw(range(2), 2, sampler="ddpm")[1], first[1])
