"""Samplers: one reverse step of a diffusion model, in as many steps as asked for, one way to build each.

`ddpm` and `ddim` use MONAI's schedulers on a *respaced* schedule (Nichol & Dhariwal 2021, arXiv:2102.09672, section 4):
the S chosen times tau_0 < ... < tau_{S-1} of the T training times get betas of their own, so that alpha_bar at step i
is exactly the alpha_bar the network was trained on at tau_i. With S = T this is MONAI's schedule unchanged. MONAI's own
`set_timesteps` is not used because its steps do not land on the times it visits: `DDPMScheduler.step` always goes from
t to t - 1, and `DDIMScheduler.step` to t - T // S, which at S = 600 is t - 1 where the next time is t - 1.67.

`dpm++` and `unipc` use the schedulers of diffusers on the same alpha_bar, with the times spread evenly over the
logarithm of the signal-to-noise ratio.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from monai.networks.schedulers.ddim import DDIMScheduler
from monai.networks.schedulers.ddpm import DDPMScheduler
from torch import Tensor

from services.generator.models.preset import SamplerName, ScheduleConfig, TooManySteps


class Sampler(ABC):
    """A reverse process of S steps; `timesteps[i]` is the training time, in 0..T-1, that the network is told at step i.

    Step 0 is the noisiest. `noisy` says whether steps use fresh noise.
    """

    noisy: bool

    def __init__(self, timesteps: list[int]) -> None:
        self.timesteps = timesteps

    def __len__(self) -> int:
        return len(self.timesteps)

    @abstractmethod
    def step(self, predicted: Tensor, i: int, x_t: Tensor, noise: Tensor | None) -> Tensor:
        """The less noisy x_(t-1) after step i.

        Args:
            predicted: (N, 1, H, W) float32, what the network says of `x_t`: eps, or v if the schedule has it so.
            i: which step, 0..S-1.
            x_t: (N, 1, H, W) float32.
            noise: (N, 1, H, W) float32, standard normal, where `noisy`; ignored after the last step.
        """


class DDPMSampler(Sampler):
    """Ancestral sampling, Algorithm 2 of Ho et al. 2020 (arXiv:2006.11239), variance `fixed_small`."""

    noisy = True

    def __init__(self, schedule: ScheduleConfig, steps: int) -> None:
        scheduler = DDPMScheduler(
            steps,
            clip_sample=schedule.clip,
            prediction_type=schedule.prediction,
            **_beta_arguments(schedule),
        )
        super().__init__(_respace(scheduler, schedule, steps))
        self._scheduler = scheduler

    def step(self, predicted: Tensor, i: int, x_t: Tensor, noise: Tensor | None) -> Tensor:
        """The ancestral step; MONAI's `step` with the noise passed in, since one generator cannot seed each image."""
        scheduler, t = self._scheduler, len(self) - 1 - i
        alpha_bar = scheduler.alphas_cumprod[t]
        if scheduler.prediction_type == "v_prediction":
            x_0 = alpha_bar**0.5 * x_t - (1 - alpha_bar) ** 0.5 * predicted  # arXiv:2202.00512, appendix D
        else:
            x_0 = (x_t - (1 - alpha_bar) ** 0.5 * predicted) / alpha_bar**0.5  # eq. 15
        if scheduler.clip_sample:
            x_0 = x_0.clamp(*scheduler.clip_sample_values)
        mean: Tensor = scheduler._get_mean(t, x_0, x_t)  # eq. 7
        if t == 0 or noise is None:
            return mean
        return mean + scheduler._get_variance(t) ** 0.5 * noise  # Algorithm 2, line 4


class DDIMSampler(Sampler):
    """Deterministic sampling, eta = 0, of Song et al. 2021 (arXiv:2010.02502), eq. 12."""

    noisy = False

    def __init__(self, schedule: ScheduleConfig, steps: int) -> None:
        scheduler = DDIMScheduler(
            steps,
            clip_sample=schedule.clip,
            prediction_type=schedule.prediction,
            **_beta_arguments(schedule),
        )
        super().__init__(_respace(scheduler, schedule, steps))
        self._scheduler = scheduler

    def step(self, predicted: Tensor, i: int, x_t: Tensor, noise: Tensor | None = None) -> Tensor:  # noqa: ARG002 no chance in it
        """MONAI's DDIM step; `noise` is not used."""
        x_prev: Tensor = self._scheduler.step(predicted, len(self) - 1 - i, x_t, eta=0.0)[0]
        return x_prev


class MultistepSampler(Sampler):
    """Deterministic sampling by a multistep solver of diffusers; each step also uses what earlier ones predicted.

    The scheduler is given x_0 itself, predicted here, since it can neither clip it nor take the sigmas of our times.
    Step 0 forgets the batch before, so one sampler may draw batch after batch.
    """

    noisy = False

    def __init__(self, scheduler: Any, schedule: ScheduleConfig, steps: int) -> None:
        alpha_bar = training_schedule(schedule).alphas_cumprod.double()
        super().__init__(_spread_times(alpha_bar, steps))
        chosen = alpha_bar[self.timesteps]
        self._alphas, self._sigmas = chosen.sqrt().tolist(), (1 - chosen).sqrt().tolist()
        # Noise relative to signal; the 0 after the last time makes the last step return the x_0 predicted there.
        self._relative = torch.cat([((1 - chosen) / chosen).sqrt(), torch.zeros(1, dtype=torch.float64)]).float()
        self._scheduler, self._schedule = scheduler, schedule

    def step(self, predicted: Tensor, i: int, x_t: Tensor, noise: Tensor | None = None) -> Tensor:  # noqa: ARG002 no chance in it
        """The solver's step from time i to time i + 1, or to x_0; steps must be made in order. `noise` is not used."""
        if i == 0:
            self._restart()
        alpha, sigma = self._alphas[i], self._sigmas[i]
        if self._schedule.prediction == "v_prediction":
            x_0 = alpha * x_t - sigma * predicted  # arXiv:2202.00512, appendix D
        else:
            x_0 = (x_t - sigma * predicted) / alpha  # eq. 15 of arXiv:2006.11239
        if self._schedule.clip:
            x_0 = x_0.clamp(-1, 1)
        x_prev: Tensor = self._scheduler.step(x_0, self.timesteps[i], x_t, return_dict=False)[0]
        return x_prev

    def _restart(self) -> None:
        self._scheduler.set_timesteps(len(self))
        self._scheduler.timesteps = torch.tensor(self.timesteps)
        self._scheduler.sigmas = self._relative
        self._scheduler.set_begin_index(0)


class DPMSolverSampler(MultistepSampler):
    """DPM-Solver++(2M) of Lu et al. 2022 (arXiv:2211.01095), Algorithm 2."""

    def __init__(self, schedule: ScheduleConfig, steps: int) -> None:
        from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

        scheduler = DPMSolverMultistepScheduler(schedule.train_steps, prediction_type="sample", solver_order=2)
        super().__init__(scheduler, schedule, steps)


class UniPCSampler(MultistepSampler):
    """UniPC-2 with B_2(h) of Zhao et al. 2023 (arXiv:2302.04867), Algorithms 5 and 6: predictor and corrector."""

    def __init__(self, schedule: ScheduleConfig, steps: int) -> None:
        from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

        scheduler = UniPCMultistepScheduler(schedule.train_steps, prediction_type="sample", solver_order=2)
        super().__init__(scheduler, schedule, steps)


_SAMPLERS: Final[dict[SamplerName, Callable[[ScheduleConfig, int], Sampler]]] = {
    "ddpm": DDPMSampler,
    "ddim": DDIMSampler,
    "dpm++": DPMSolverSampler,
    "unipc": UniPCSampler,
}
_LEAST_LAMBDA: Final = -5.1
"""Below this log(alpha / sigma) an image is noise, with 0.6 % of its signal, and steps are wasted. Linear betas end
near it, at -5.06; cosine betas go on to -9.9."""


def build_sampler(name: SamplerName, steps: int, schedule: ScheduleConfig) -> Sampler:
    """The sampler `name` in `steps` denoising steps of `schedule`.

    Raises:
        TooManySteps: the network was trained on fewer steps than that.
    """
    if not 1 <= steps <= schedule.train_steps:
        raise TooManySteps(f"steps must be between 1 and {schedule.train_steps}, the number this model was trained on.")
    return _SAMPLERS[name](schedule, steps)


def training_schedule(schedule: ScheduleConfig) -> DDPMScheduler:
    """MONAI's scheduler with the full schedule; its `add_noise` is the forward process, eq. 4 of arXiv:2006.11239."""
    return DDPMScheduler(schedule.train_steps, **_beta_arguments(schedule))


def _beta_arguments(schedule: ScheduleConfig) -> dict[str, Any]:
    """How MONAI calls the betas of `schedule`."""
    if schedule.betas == "cosine":
        return {"schedule": "cosine"}  # arXiv:2102.09672, eq. 17
    return {"schedule": "linear_beta", "beta_start": schedule.beta_start, "beta_end": schedule.beta_end}


def _respace(scheduler: DDPMScheduler | DDIMScheduler, schedule: ScheduleConfig, steps: int) -> list[int]:
    """Give `scheduler` the betas of `steps` evenly spread training times, and return those times, latest first."""
    total = schedule.train_steps
    times = torch.linspace(total - 1, 0, steps).round().long()
    if steps < total:
        alpha_bar = training_schedule(schedule).alphas_cumprod[times.flip(0)]
        previous = torch.cat([torch.ones(1), alpha_bar[:-1]])
        scheduler.alphas_cumprod = alpha_bar
        scheduler.alphas = alpha_bar / previous
        scheduler.betas = 1 - scheduler.alphas  # arXiv:2102.09672, eq. 19
    return [int(time) for time in times]


def _spread_times(alpha_bar: Tensor, steps: int) -> list[int]:
    """`steps` distinct training times from the last to 0, evenly spread over lambda = log(alpha / sigma).

    The choice of Lu et al. 2022 (arXiv:2206.00927, section 3.4): the solvers' error is a power of the step in lambda.
    Where times lie too far apart for an even spread, near 0, they are consecutive.

    Args:
        alpha_bar: (T,) float64 in (0, 1), falling.
        steps: how many, at most T.
    """
    lambdas = (0.5 * (alpha_bar.log() - (1 - alpha_bar).log())).clamp(min=_LEAST_LAMBDA).numpy()
    wanted = np.linspace(lambdas[-1], lambdas[0], steps)
    # np.interp needs rising abscissas; the ramp breaks the ties of the clamped end towards the last time.
    total = len(lambdas)
    times = np.interp(-wanted, -lambdas + 1e-9 * np.arange(total), np.arange(total)).round().astype(int)
    times[0] = total - 1
    for i in range(1, steps):
        times[i] = min(times[i], times[i - 1] - 1)
    least = np.arange(steps - 1, -1, -1)  # Room for the times that follow.
    return [int(time) for time in np.maximum(times, least)]
