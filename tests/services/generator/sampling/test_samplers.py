import pytest
import torch
from monai.networks.schedulers.ddim import DDIMScheduler
from monai.networks.schedulers.ddpm import DDPMScheduler

from services.generator.models.preset import ScheduleConfig, TooManySteps
from services.generator.sampling.samplers import build_sampler, training_schedule

SCHEDULE = ScheduleConfig()
SHAPE = (3, 1, 8, 8)


def test_forward_noise_has_variance_one_minus_alpha_bar() -> None:
    schedule = training_schedule(SCHEDULE)
    n = 200_000
    noise = torch.randn(n, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    for t in (0, 10, 100, 500, 999):
        x_t = schedule.add_noise(torch.zeros(n, 1, 1, 1), noise, torch.full((n,), t))
        expected = 1 - schedule.alphas_cumprod[t]
        # The variance of n normal values has relative standard deviation sqrt(2 / n) = 0.32 %; 5 of them are allowed.
        assert x_t.var().item() == pytest.approx(expected.item(), rel=5 * (2 / n) ** 0.5)


def test_full_ddpm_step_equals_monai_from_the_same_noise() -> None:
    ours, theirs = build_sampler("ddpm", 1000, SCHEDULE), DDPMScheduler(1000)
    generator = torch.Generator().manual_seed(1)
    x_t, eps = torch.randn(SHAPE, generator=generator), torch.randn(SHAPE, generator=generator)
    for i in (0, 1, 500, 998, 999):
        t = ours.timesteps[i]
        expected, _ = theirs.step(eps, t, x_t, generator=torch.Generator().manual_seed(2))
        noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(2))
        assert torch.equal(ours.step(eps, i, x_t, noise), expected)


def test_full_ddim_step_equals_monai() -> None:
    ours, theirs = build_sampler("ddim", 1000, SCHEDULE), DDIMScheduler(1000)
    generator = torch.Generator().manual_seed(1)
    x_t, eps = torch.randn(SHAPE, generator=generator), torch.randn(SHAPE, generator=generator)
    for i in (0, 500, 999):
        expected, _ = theirs.step(eps, ours.timesteps[i], x_t)
        assert torch.equal(ours.step(eps, i, x_t, None), expected)


@pytest.mark.parametrize("name", ["ddpm", "ddim"])
@pytest.mark.parametrize("steps", [1, 7, 50, 600, 1000])
def test_each_step_lands_on_the_noise_level_of_the_next_time(name: str, steps: int) -> None:
    """Fed the true eps of a clean image 0.5, the signal left after step i is sqrt(alpha_bar) of time i + 1."""
    sampler = build_sampler(name, steps, SCHEDULE)  # type: ignore[arg-type]
    alpha_bar = training_schedule(SCHEDULE).alphas_cumprod
    assert sampler.timesteps == sorted(set(sampler.timesteps), reverse=True)
    for i, t in enumerate(sampler.timesteps):
        # At x_t = sqrt(alpha_bar) x_0 the true eps is 0, so that the posterior mean holds signal only.
        x_t = torch.full(SHAPE, 0.5) * alpha_bar[t].sqrt()
        left = sampler.step(torch.zeros(SHAPE), i, x_t, torch.zeros(SHAPE))
        following = alpha_bar[sampler.timesteps[i + 1]] if i + 1 < steps else torch.tensor(1.0)
        # float32: alpha_bar is 4e-5 at t = 999, and betas come from a difference of numbers near 1.
        torch.testing.assert_close(left, torch.full(SHAPE, 0.5) * following.sqrt(), rtol=1e-3, atol=1e-6)


def test_strided_ddpm_adds_the_noise_of_the_whole_stride() -> None:
    """Variances compose: from time s to the next, a posterior variance as eq. 7 gives with the stride's own beta."""
    sampler = build_sampler("ddpm", 10, SCHEDULE)
    alpha_bar = training_schedule(SCHEDULE).alphas_cumprod
    now, following = alpha_bar[sampler.timesteps[4]], alpha_bar[sampler.timesteps[5]]
    zero, one = torch.zeros(SHAPE), torch.ones(SHAPE)
    spread = sampler.step(zero, 4, zero, one) - sampler.step(zero, 4, zero, zero)
    expected = ((1 - following) / (1 - now) * (1 - now / following)).sqrt()
    torch.testing.assert_close(spread, expected.expand(SHAPE))


def test_steps_outside_the_training_are_refused() -> None:
    for steps in (0, 1001):
        with pytest.raises(TooManySteps, match="between 1 and 1000"):
            build_sampler("ddim", steps, SCHEDULE)
