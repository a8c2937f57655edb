"""What each update of a training sees, as a function of (data, preset, seed, number of the update) alone.

All that is random, the order of the images, their rotations, timesteps t, noise eps and which classes are withheld, is
drawn on the CPU from the streams of (seed, epoch or update), so that no random state needs saving.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

from services.generator.images import ImageU8
from services.generator.models.preset import Preset
from services.generator.streams import Stream, open_stream
from services.generator.training.augmentation import draw_rotations, rotate_images
from services.generator.training.data import TrainingData
from services.generator.training.validation import HeldOutImages

_EPOCHS_REMEMBERED: Final = 2  # The one that is on, and the next, whose first batch is drawn ahead.


@dataclass(frozen=True)
class Batch:
    """Images of one update on the training's device, and what was drawn for them.

    Args:
        x_0: (B, 1, H, W) float32, clean images in the preset's value range.
        eps: (B, 1, H, W) float32, standard normal noise.
        t: (B,) int64, timesteps in 0..T-1.
        classes: (B,) int64, for a class-conditional network; the number of classes means: withheld.
    """

    x_0: Tensor
    eps: Tensor
    t: Tensor
    classes: Tensor | None


class Batches:
    """The batches of one training."""

    def __init__(self, data: TrainingData, preset: Preset, seed: int, device: torch.device) -> None:
        self._data, self._preset, self._seed, self._device = data, preset, seed, device
        self._images = scale_images(data.images_u8, preset.value_range).to(device)
        self._classes = torch.from_numpy(data.classes)
        self.n_images = len(data.images_u8)
        self.per_epoch = math.ceil(self.n_images / preset.batch_size)
        self._order_images = lru_cache(_EPOCHS_REMEMBERED)(self._draw_epoch)

    def draw(self, step: int) -> Batch:
        """The batch of update `step` (0, 1, ...)."""
        preset = self._preset
        epoch, position = divmod(step, self.per_epoch)
        order, angles_deg = self._order_images(epoch)
        chosen = order[position * preset.batch_size : (position + 1) * preset.batch_size]
        x_0 = self._images[chosen.to(self._device)]
        if preset.rotation_deg:
            x_0 = rotate_images(x_0, angles_deg[chosen], black=preset.value_range[0])
        generator = open_stream(self._seed, Stream.NOISING, step)
        t = torch.randint(0, preset.schedule.train_steps, (len(chosen),), generator=generator)
        eps = torch.randn(x_0.shape, generator=generator)
        classes = None
        if preset.classes:
            withheld = torch.rand(len(chosen), generator=generator) < preset.class_dropout
            classes = self._send(torch.where(withheld, len(preset.classes), self._classes[chosen]))
        return Batch(x_0, self._send(eps), self._send(t), classes)

    def hold_out(self) -> HeldOutImages | None:
        """The images held out, with their noise; None where there are none."""
        data, preset = self._data, self._preset
        if not len(data.held_out_u8):
            return None
        x_0 = scale_images(data.held_out_u8, preset.value_range).to(self._device)
        classes = torch.from_numpy(data.held_out_classes).to(self._device) if preset.classes else None
        generator = open_stream(self._seed, Stream.VALIDATING, 0)
        return HeldOutImages(x_0, classes, preset.schedule.train_steps, generator, preset.batch_size)

    def _draw_epoch(self, epoch: int) -> tuple[Tensor, Tensor]:
        """The order of the images in an epoch, each once, and the angle of each image, degrees."""
        order = torch.randperm(self.n_images, generator=open_stream(self._seed, Stream.SHUFFLING, epoch))
        rotating = open_stream(self._seed, Stream.ROTATING, epoch)
        preset = self._preset
        return order, draw_rotations(self.n_images, preset.rotation_deg, preset.rotation_chance, rotating)

    def _send(self, drawn: Tensor) -> Tensor:
        """`drawn` on the device; a GPU takes it while it works on the update before."""
        if self._device.type == "cuda":
            return drawn.pin_memory().to(self._device, non_blocking=True)
        return drawn


def scale_images(images_u8: ImageU8, value_range: tuple[float, float]) -> Tensor:
    """`images_u8`, (N, H, W) uint8, as (N, 1, H, W) float32 in `value_range`: 0 at its low end, 255 at its high end."""
    low, high = value_range
    return torch.from_numpy(images_u8).unsqueeze(1).float() / 255 * (high - low) + low
