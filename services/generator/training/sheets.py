"""Sheets of sample images, drawn while a network trains: does it learn what it should, and in which orientation."""

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor, nn

from services.generator.images import ImageU8, encode_png
from services.generator.models.preset import Preset
from services.generator.sampling.drawing import SamplingPlan, sample_images
from services.generator.sampling.guidance import choose_class
from services.generator.sampling.samplers import build_sampler
from shared.progress import Progress

IMAGES_PER_SHEET: Final = 8
COLUMNS: Final = 4
STEPS: Final = 20
"""Denoising steps of a sheet's images; enough to judge them, and few beside the updates of some epochs."""


def draw_sheet(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    preset: Preset,
    *,
    seed: int,
    progress: Progress,
    dtype: torch.dtype = torch.float32,
) -> bytes:
    """A PNG of samples from `network` with `weights`, side by side without a gap; one row for each class it knows.

    The sampler is the preset's, or `ddim` in place of `ddpm`, which needs all steps. Image k is drawn from seed and k,
    so that sheets of a training show the same images getting better. They are shown as the network draws them, which
    works in bfloat16 if that is the `dtype`, else in float32.

    Raises:
        Cancelled, Stopping: from `progress`, within one denoising step.
        BatchDoesNotFit, torch.OutOfMemoryError: the images, or another network beside the one that trains.
        SamplesNotFinite: the weights draw no numbers.
    """
    device = next(iter(weights.values())).device
    drawer = deepcopy(network).to(device)
    drawer.load_state_dict(dict(weights))
    sampler = "ddim" if preset.sampler == "ddpm" else preset.sampler
    steps = min(STEPS, preset.schedule.train_steps)
    precision: Literal["float32", "bfloat16"] = "bfloat16" if dtype == torch.bfloat16 else "float32"
    rows = []
    for tumour_class in preset.classes or (None,):
        n = COLUMNS if preset.classes else IMAGES_PER_SHEET
        plan = SamplingPlan(preset.size_px, preset.value_range, seed, range(n), n, precision)
        told = choose_class(drawer, preset, tumour_class, preset) if tumour_class else drawer
        built = build_sampler(sampler, steps, preset.schedule)
        quiet = _Quiet(progress)
        images = [image_u8 for _, image_u8 in sample_images(told, built, plan, progress=quiet, device=device)]
        rows.append(arrange_images(np.stack(images), COLUMNS))
    return encode_png(np.concatenate(rows))


def arrange_images(images_u8: ImageU8, columns: int) -> ImageU8:
    """`images_u8`, (N, H, W) uint8, in rows of `columns`, from left to right and top to bottom; black where none is."""
    n_images, height, width = images_u8.shape
    rows = math.ceil(n_images / columns)
    padded = np.zeros((rows * columns, height, width), np.uint8)
    padded[:n_images] = images_u8
    grid = padded.reshape(rows, columns, height, width).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(grid.reshape(rows * height, columns * width))


class _Quiet:
    """A Progress that passes on only the question whether to go on."""

    def __init__(self, progress: Progress) -> None:
        self.raise_if_cancelled = progress.raise_if_cancelled

    def update(self, done: int, total: int) -> None:
        """Sheets are no part of the work that is counted."""

    def note(self, **facts: Any) -> None:
        """Nor have they facts of their own."""
