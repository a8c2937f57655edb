"""The loss on images held out, with the same noise at every measurement, so that a curve of it compares."""

from collections.abc import Mapping

import torch
from torch import Generator, Tensor, nn

from services.generator.training.objective import Objective
from shared.progress import Progress


class HeldOutImages:
    """Images that training never sees, each with a timestep and a noise of its own, fixed by a generator.

    The timesteps are stratified, one in each of M equal parts of 0..T-1 in an order of chance, which leaves the mean as
    it is and makes it less noisy than independent ones.

    Args:
        x_0: (M, 1, H, W) float32 in the preset's value range, M > 0.
        classes: (M,) int64 for a class-conditional network, else None.
        train_steps: T.
        generator: decides timesteps and noise.
        batch_size: images the network sees at once.
    """

    def __init__(
        self, x_0: Tensor, classes: Tensor | None, train_steps: int, generator: Generator, batch_size: int
    ) -> None:
        n_images = len(x_0)
        places = (torch.randperm(n_images, generator=generator) + torch.rand(n_images, generator=generator)) / n_images
        self._x_0, self._classes, self._batch_size = x_0, classes, batch_size
        self._t = (places * train_steps).long().clamp(max=train_steps - 1).to(x_0.device)
        self._eps = torch.randn(x_0.shape, generator=generator).to(x_0.device)

    @torch.no_grad()
    def measure(
        self,
        network: nn.Module,
        weights: Mapping[str, Tensor],
        objective: Objective,
        dtype: torch.dtype,
        progress: Progress,
    ) -> float:
        """The mean squared error of `network` with `weights`, without the weights of timesteps.

        Raises:
            Cancelled, Stopping: from `progress`, between two batches.
        """
        total = 0.0
        for start in range(0, len(self._x_0), self._batch_size):
            progress.raise_if_cancelled()
            batch = slice(start, start + self._batch_size)
            x_0, eps, t = self._x_0[batch], self._eps[batch], self._t[batch]
            classes = None if self._classes is None else self._classes[batch]
            with torch.autocast(x_0.device.type, dtype, enabled=dtype != torch.float32):
                noisy = objective.add_noise(x_0, eps, t)
                predicted = torch.func.functional_call(network, dict(weights), (noisy, t, classes))
            total += objective.measure(predicted, x_0, eps, t)[0].item() * len(x_0)
        return total / len(self._x_0)
