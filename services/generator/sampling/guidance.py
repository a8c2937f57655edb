"""A class-conditional network told which class to draw, with classifier-free guidance where it is asked for."""

import torch
from torch import Tensor, nn

from services.generator.models.preset import Preset
from shared.tumour import TumourClass


class GuidedPredictor(nn.Module):
    """The noise predictor of one class, as unconditional samplers want it: a function of (x_t, timesteps).

    Ho & Salimans 2022 (arXiv:2207.12598), eq. 6, with guidance g = 1 + w: at 1 the network's own prediction for the
    class; above it the prediction moves on, away from the one without a class. Velocities mix like noises, being linear
    in them.
    """

    def __init__(self, network: nn.Module, number: int, withheld: int, guidance: float) -> None:
        super().__init__()
        self._network, self._number, self._withheld, self._guidance = network, number, withheld, guidance

    def forward(self, x_t: Tensor, timesteps: Tensor) -> Tensor:
        """Predicted noise (or velocity) of `x_t`, both (N, 1, H, W), at `timesteps`, (N,) int64."""
        told = torch.full_like(timesteps, self._number)
        if self._guidance == 1:
            predicted: Tensor = self._network(x_t, timesteps, told)
            return predicted
        classes = torch.cat([told, torch.full_like(timesteps, self._withheld)])
        both: Tensor = self._network(torch.cat([x_t, x_t]), torch.cat([timesteps, timesteps]), classes)
        conditional, unconditional = both.float().chunk(2)
        return unconditional + self._guidance * (conditional - unconditional)  # eq. 6


def choose_class(network: nn.Module, preset: Preset, tumour_class: TumourClass, guidance: float) -> nn.Module:
    """`network` as a function of (x_t, timesteps) that draws `tumour_class`; itself if it knows one class only."""
    if not preset.classes:
        return network
    return GuidedPredictor(network, preset.classes.index(tumour_class), preset.unet.n_classes, guidance)
