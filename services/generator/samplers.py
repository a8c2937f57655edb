"""Samplers: one reverse step of a diffusion model, in as many steps as asked for, one way to build each.

Both use MONAI's schedulers on a *respaced* schedule (Nichol & Dhariwal 2021, arXiv:2102.09672, section 4): the S
chosen times tau_0 < ... < tau_{S-1} of the T training times get betas of their own, so that alpha_bar at step i is
exactly the alpha_bar the network was trained on at tau_i. With S = T this is MONAI's schedule unchanged. MONAI's own
`set_timesteps` is not used because its steps do not land on the times it visits: `DDPMScheduler.step` always goes from
t to t - 1, and `DDIMScheduler.step` to t - T // S, which at S = 600 is t - 1 where the next time is t - 1.67.
"""

from abc import ABC, abstractmethod
from typing import Any, Final

import torch
from monai.networks.schedulers.ddim import DDIMScheduler
from monai.networks.schedulers.ddpm import DDPMScheduler
from torch import Tensor

from services.generator.preset import SamplerName, ScheduleConfig, TooManySteps


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


_SAMPLERS: Final[dict[str, type[DDPMSampler] | type[DDIMSampler]]] = {"ddpm": DDPMSampler, "ddim": DDIMSampler}


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
