"""The exponential moving average of a network's weights, which samples better than the weights themselves."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def warm_decay(decay: float, step: int) -> float:
    """The decay to use at update `step` (1, 2, ...): min(decay, (1 + step) / (10 + step)).

    The warm-up of TensorFlow's `ExponentialMovingAverage(num_updates=...)`: a short training would otherwise average in
    its random initial weights.
    """
    return min(decay, (1 + step) / (10 + step))


class MovingAverage:
    """ema <- d * ema + (1 - d) * weights after each update, with d = `warm_decay(decay, step)`."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self._live: list[Tensor] = list(network.parameters())
        self._names = [name for name, _ in network.named_parameters()]
        self._average = [parameter.detach().clone() for parameter in self._live]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights as they are after update `step`."""
        torch._foreach_lerp_(self._average, self._live, 1 - warm_decay(self.decay, step))

    def state(self) -> dict[str, Tensor]:
        """The averaged weights under the network's own names (the networks here have no buffers)."""
        return dict(zip(self._names, self._average, strict=True))

    @torch.no_grad()
    def load(self, saved: Mapping[str, Tensor]) -> None:
        """Continue from averaged weights that `state` gave."""
        for name, average in zip(self._names, self._average, strict=True):
            average.copy_(saved[name])
