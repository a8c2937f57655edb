"""What training minimises: the forward process, the target of the prediction, the weight of each timestep."""

import torch
from torch import Tensor

from services.generator.models.preset import Preset
from services.generator.sampling.samplers import training_schedule


class Objective:
    """The loss of a preset: L_simple, eq. 14 of Ho et al. 2020 (arXiv:2006.11239), or the same with weights."""

    def __init__(self, preset: Preset, device: torch.device) -> None:
        self._schedule = training_schedule(preset.schedule)
        self._prediction = preset.schedule.prediction
        self._weights = weigh_timesteps(self._schedule.alphas_cumprod, preset).to(device)

    def add_noise(self, x_0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t, (N, 1, H, W) float32: sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) eps, eq. 4 of arXiv:2006.11239."""
        x_t: Tensor = self._schedule.add_noise(x_0, eps, t)
        return x_t

    def measure(self, predicted: Tensor, x_0: Tensor, eps: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The mean squared error of `predicted`, plain and with the weight of each image's timestep: two scalars.

        Args:
            predicted: (N, 1, H, W), what the network says of `add_noise(x_0, eps, t)`.
            x_0: (N, 1, H, W) float32, the clean images in the preset's value range.
            eps: (N, 1, H, W) float32, the noise.
            t: (N,) int64, the timesteps.
        """
        target = eps
        if self._prediction == "v_prediction":
            target = self._schedule.get_velocity(x_0, eps, t)  # Salimans & Ho 2022, arXiv:2202.00512, section 4
        errors = (predicted.float() - target).square().mean(dim=(1, 2, 3))
        return errors.mean(), (errors * self._weights[t]).mean()


def weigh_timesteps(alpha_bar: Tensor, preset: Preset) -> Tensor:
    """Weight of each timestep's squared error, (T,) float32.

    Min-SNR (Hang et al. 2023, arXiv:2303.09556) weighs the error of x_0 by min(SNR, gamma), section 3.4. A squared
    error of x_0 is one of eps times 1 / SNR, and one of v times 1 / (SNR + 1); so the weights are min(1, gamma / SNR)
    for eps, and min(SNR, gamma) / (SNR + 1) for v.

    Args:
        alpha_bar: (T,) in (0, 1), the share of the image's power that is left at each timestep.
        preset: names the weighting, gamma and the kind of prediction.
    """
    if preset.loss_weighting == "uniform":
        return torch.ones_like(alpha_bar, dtype=torch.float32)
    snr = alpha_bar.double() / (1 - alpha_bar.double())  # Kingma et al. 2021, arXiv:2107.00630, eq. 4
    if preset.schedule.prediction == "v_prediction":
        return (snr.clamp(max=preset.min_snr_gamma) / (snr + 1)).float()
    return (preset.min_snr_gamma / snr).clamp(max=1).float()
