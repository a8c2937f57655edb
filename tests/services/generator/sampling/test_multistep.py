"""The multistep samplers against closed forms: a Gaussian's exact probability flow, and diffusers used by itself."""

import pytest
import torch
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from torch import Tensor

from services.generator.models.preset import SamplerName, ScheduleConfig
from services.generator.sampling.samplers import Sampler, build_sampler, training_schedule
from tests.services.generator.micro import GaussianPredictor

SIZE_PX = 16
UNCLIPPED = ScheduleConfig(clip=False)
COSINE = ScheduleConfig(betas="cosine", prediction="v_prediction", clip=False)
MULTISTEP: tuple[SamplerName, ...] = ("dpm++", "unipc")


def draw(sampler: Sampler, network: torch.nn.Module, x_t: Tensor) -> Tensor:
    for i, t in enumerate(sampler.timesteps):
        x_t = sampler.step(network(x_t, torch.full((len(x_t),), t)), i, x_t, None)
    return x_t


def error(name: SamplerName, steps: int, schedule: ScheduleConfig) -> float:
    """Root mean square distance to the exact flow of a Gaussian whose variances fall as 1 / f^2, as images' do."""
    rank = torch.arange(1, SIZE_PX**2 + 1, dtype=torch.float64)
    variances = (50 / rank).view(1, 1, SIZE_PX, SIZE_PX)
    network = GaussianPredictor(variances, schedule)
    x_t = torch.randn(4, 1, SIZE_PX, SIZE_PX, generator=torch.Generator().manual_seed(0))
    drawn = draw(build_sampler(name, steps, schedule), network, x_t)
    return float((drawn - network.flow(x_t)).square().mean().sqrt())


@pytest.mark.parametrize("schedule", [UNCLIPPED, COSINE])
def test_all_deterministic_samplers_meet_in_the_limit(schedule: ScheduleConfig) -> None:
    # Pixels have a standard deviation of 1.1; ddim is of first order, the others of second.
    for name, bound in (("ddim", 5e-3), ("dpm++", 1e-3), ("unipc", 1e-3)):
        assert error(name, 1000, schedule) < bound  # type: ignore[arg-type]


@pytest.mark.parametrize("schedule", [UNCLIPPED, COSINE])
@pytest.mark.parametrize("name", MULTISTEP)
def test_twenty_steps_are_nearer_the_exact_flow_than_ddims(name: SamplerName, schedule: ScheduleConfig) -> None:
    assert error(name, 20, schedule) < 0.2 * error("ddim", 20, schedule)
    assert error(name, 20, schedule) < error("ddim", 100, schedule)


@pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("dpm++", 2), ("unipc", 2)])
def test_the_error_falls_with_the_order_of_the_method(name: SamplerName, order: int) -> None:
    """Three halvings of the step: 2^-order each; the first and last steps of the solvers are of lower order."""
    ratio = error(name, 10, UNCLIPPED) / error(name, 80, UNCLIPPED)
    assert ratio > 0.6 * 2 ** (3 * order)


@pytest.mark.parametrize("schedule", [ScheduleConfig(), ScheduleConfig(betas="cosine")])
@pytest.mark.parametrize("steps", [1, 2, 5, 20, 100, 600, 999, 1000])
def test_times_fall_from_the_last_to_zero(steps: int, schedule: ScheduleConfig) -> None:
    times = build_sampler("dpm++", steps, schedule).timesteps
    assert len(times) == steps
    assert times[0] == 999
    assert times == sorted(set(times), reverse=True)
    assert steps == 1 or times[-1] == 0


@pytest.mark.parametrize("schedule", [ScheduleConfig(), ScheduleConfig(betas="cosine")])
def test_times_are_even_in_the_log_of_signal_to_noise(schedule: ScheduleConfig) -> None:
    alpha_bar = training_schedule(schedule).alphas_cumprod.double()
    lambdas = 0.5 * (alpha_bar / (1 - alpha_bar)).log()
    steps = lambdas[build_sampler("unipc", 15, schedule).timesteps].diff()
    middle = steps[1:-2]  # The first step may cross the flat end of a cosine, times near 0 are whole numbers.
    assert float(middle.max() / middle.min()) < 1.2


def test_on_the_same_times_diffusers_alone_gives_the_same() -> None:
    """Their own respacing and conversion of eps, on times taken from ours."""
    network = GaussianPredictor(torch.full((1, 1, 4, 4), 0.3, dtype=torch.float64), UNCLIPPED)
    ours = build_sampler("dpm++", 20, UNCLIPPED)
    theirs = DPMSolverMultistepScheduler(1000, beta_start=1e-4, beta_end=2e-2, prediction_type="epsilon")
    theirs.set_timesteps(timesteps=ours.timesteps)
    x_t = start = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    for t in theirs.timesteps:
        x_t = theirs.step(network(x_t, t.expand(2)), t, x_t, return_dict=False)[0]
    # float32 on both sides; theirs converts eps at alpha_bar = 4e-5 with float32 square roots.
    torch.testing.assert_close(draw(ours, network, start), x_t, atol=2e-3, rtol=0)


@pytest.mark.parametrize("name", MULTISTEP)
def test_a_sampler_draws_batch_after_batch(name: SamplerName) -> None:
    """Also after a batch that was given up midway."""
    network = GaussianPredictor(torch.full((1, 1, 4, 4), 0.3, dtype=torch.float64), UNCLIPPED)
    x_t = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    fresh = draw(build_sampler(name, 6, UNCLIPPED), network, x_t)
    used = build_sampler(name, 6, UNCLIPPED)
    draw(used, network, torch.zeros(7, 1, 4, 4))
    used.step(torch.zeros(5, 1, 4, 4), 0, torch.ones(5, 1, 4, 4), None)
    assert torch.equal(draw(used, network, x_t), fresh)


@pytest.mark.parametrize("name", MULTISTEP)
def test_predicted_images_are_clipped(name: SamplerName) -> None:
    """A network that says x_0 = 3 everywhere ends at 1, or at 3 where the schedule does not clip."""
    for clip, expected in ((True, 1.0), (False, 3.0)):
        schedule = ScheduleConfig(clip=clip)
        network = GaussianPredictor(torch.full((1, 1, 2, 2), 1e-9, dtype=torch.float64), schedule, mean=3.0)
        drawn = draw(build_sampler(name, 8, schedule), network, torch.ones(1, 1, 2, 2))
        torch.testing.assert_close(drawn, torch.full((1, 1, 2, 2), expected), atol=1e-4, rtol=0)
