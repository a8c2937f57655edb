"""The platform's training and drawing, through its own classes."""

import torch
from torch import nn

from services.generator.images import ImageU8
from services.generator.models.preset import Preset, SamplerName
from services.generator.sampling.drawing import SamplingPlan, sample_unit_images
from services.generator.sampling.samplers import build_sampler
from services.generator.training.batches import Batch, Batches
from services.generator.training.data import TrainingData
from services.generator.training.learner import Learner
from shared.progress import NoProgress

_MANY_UPDATES = 1_000_000


class PlatformLoop:
    """Updates as `training.loop` makes them: the next batch is drawn before the losses of this one are asked for."""

    def __init__(self, preset: Preset, images_u8: ImageU8, device: torch.device, *, compiled: bool) -> None:
        self._batches = Batches(TrainingData(images_u8), preset, 0, device)
        self._learner = Learner(preset, 0, device, compiled=compiled)
        self.precision = self._learner.precision
        self._step, self._ahead = 0, self._batches.draw(0)

    def update(self) -> int:
        """Make one update; the number of images it saw."""
        batch: Batch = self._ahead
        losses = self._learner.update(batch, self._step, _MANY_UPDATES)
        self._step += 1
        self._ahead = self._batches.draw(self._step)
        losses.tolist()
        return len(batch.t)


def draw(
    network: nn.Module, preset: Preset, sampler: SamplerName, steps: int, *, n: int, batch: int, device: torch.device
) -> None:
    """Draw `n` images in bfloat16, as a worker does before it encodes them."""
    plan = SamplingPlan(preset.size_px, preset.value_range, 0, range(n), batch, precision="bfloat16")
    built = build_sampler(sampler, steps, preset.schedule)
    for _ in sample_unit_images(network, built, plan, progress=NoProgress(), device=device):
        pass
