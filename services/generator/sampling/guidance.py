"""A class-conditional network told which class to draw, with classifier-free guidance where it is asked for."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from services.generator.models.preset import Preset
from services.generator.sampling.samplers import training_schedule
from shared.tumour import TumourClass


class Guidance(Protocol):
    """How a class is followed: a preset says it, and a sampling recipe."""

    @property
    def guidance(self) -> float:
        """Weight of the class, 1 or more; 1 is no guidance."""

    @property
    def guidance_sigma_min(self) -> float:
        """Noise level at or below which the network is not guided; 0: guided to the end."""

    @property
    def guidance_sigma_max(self) -> float | None:
        """Noise level above which the network is not guided; None: guided from the start."""


class GuidedPredictor(nn.Module):
    """The noise predictor of one class, as unconditional samplers want it: a function of (x_t, timesteps).

    Ho & Salimans 2022 (arXiv:2207.12598), eq. 6, with guidance g = 1 + w: at 1 the network's own prediction for the
    class; above it the prediction moves on, away from the one without a class. Velocities mix like noises, being linear
    in them.

    Args:
        network: of (x_t, timesteps, classes), all of N rows.
        number: of the class, for the network.
        withheld: the number that stands for no class.
        guidance: g.
        guided: (T,) bool, the timesteps at which it is guided; all, if left out. At the others the network is asked
            once in place of twice.
    """

    def __init__(
        self, network: nn.Module, number: int, withheld: int, guidance: float, guided: Tensor | None = None
    ) -> None:
        super().__init__()
        self._network, self._number, self._withheld, self._guidance = network, number, withheld, guidance
        self._guided = None if guided is None else guided.tolist()

    def forward(self, x_t: Tensor, timesteps: Tensor) -> Tensor:
        """Predicted noise (or velocity) of `x_t`, both (N, 1, H, W), at `timesteps`, (N,) int64 and all alike."""
        told = torch.full_like(timesteps, self._number)
        if self._guidance == 1 or not (self._guided is None or self._guided[int(timesteps[0])]):
            predicted: Tensor = self._network(x_t, timesteps, told)
            return predicted
        classes = torch.cat([told, torch.full_like(timesteps, self._withheld)])
        both: Tensor = self._network(torch.cat([x_t, x_t]), torch.cat([timesteps, timesteps]), classes)
        conditional, unconditional = both.float().chunk(2)
        return unconditional + self._guidance * (conditional - unconditional)  # eq. 6


def choose_class(network: nn.Module, preset: Preset, tumour_class: TumourClass, guidance: Guidance) -> nn.Module:
    """`network` as a function of (x_t, timesteps) that draws `tumour_class`; itself if it knows one class only."""
    if not preset.classes:
        return network
    number, withheld = preset.classes.index(tumour_class), preset.unet.n_classes
    return GuidedPredictor(network, number, withheld, guidance.guidance, find_guided_times(preset, guidance))


def count_passes(preset: Preset, guidance: Guidance, timesteps: Sequence[int]) -> int:
    """How many images the network sees for each one that is drawn in steps at `timesteps`: two where it is guided."""
    if not preset.classes or guidance.guidance == 1:
        return len(timesteps)
    guided = find_guided_times(preset, guidance)
    return 2 * len(timesteps) if guided is None else len(timesteps) + int(guided[list(timesteps)].sum())


def find_guided_times(preset: Preset, guidance: Guidance) -> Tensor | None:
    """Which training times lie in the interval of noise levels at which `guidance` acts; None if all do.

    Kynkäänniemi et al. 2024 (arXiv:2404.07724), section 3: guided where sigma_min < sigma <= sigma_max. Sigma is
    the noise relative to the signal, sqrt((1 - alpha_bar) / alpha_bar), of an image whose gray levels span the
    preset's `value_range`; at the noisiest levels guidance makes images alike, at the least noisy ones it is of no use.

    Returns:
        (T,) bool.
    """
    low, high = guidance.guidance_sigma_min, guidance.guidance_sigma_max
    if low == 0 and high is None:
        return None
    alpha_bar = training_schedule(preset.schedule).alphas_cumprod.double()
    sigma = ((1 - alpha_bar) / alpha_bar).sqrt()
    guided: Tensor = (sigma > low) & (sigma <= (torch.inf if high is None else high))
    return guided
