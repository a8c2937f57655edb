"""Sampling: draws images from a trained network, each from a seed of its own, over the steps of a sampler.

Image k of seed s is a function of (network, sampler, s, k) alone. Its initial noise and, with `ddpm`, its noise at
every step come from the one stream of (s, k), drawn on the CPU so that a GPU starts from the same noise. The
network always sees one batch shape, the last batch being padded, because on a CPU the arithmetic inside a convolution
is ordered by the shape: for one shape an image is bit-equal whatever its neighbours, its place in the batch, its
shard or its worker. Between *different* batch sizes float32 rounding differs by some 1e-7 a call; after all steps of
a sampler that is around 1e-5 of the gray range, so that a pixel differs by at most one gray level of 255, and only
where it lay that close to a rounding boundary.

Precision `bfloat16` runs the network under autocast; the noise, the sampler and x_t stay float32. For one batch shape
all of the above holds for it too; between shapes its rounding, 4e-3 an operation, may differ. Against float32, 20 steps
of `dpm++` with a partly trained `compact` network left 85 % of the pixels as they were, moved 99 % by at most one gray
level and none by more than five.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from services.generator.images import ImageU8
from services.generator.models.footprint import BatchDoesNotFit
from services.generator.sampling.outputs import ImageUnit, round_unit
from services.generator.sampling.samplers import Sampler
from services.generator.streams import Stream, open_stream
from shared.errors import InvalidInput
from shared.progress import Progress


class SamplesNotFinite(InvalidInput):
    """The network drew NaN or infinite values, which are no gray levels."""


@dataclass(frozen=True)
class SamplingPlan:
    """Which images to draw, and how.

    Args:
        size_px: side of the images the network was trained on, pixels.
        value_range: what gray levels 0 and 255 are inside the network.
        seed: s, the seed of the whole set, 0 or more.
        indices: the images k of the set to draw.
        batch_size: images the network sees at once; part of what makes an image bit-equal.
        precision: arithmetic of the network.
    """

    size_px: int
    value_range: tuple[float, float]
    seed: int
    indices: Sequence[int]
    batch_size: int
    precision: Literal["float32", "bfloat16"] = "float32"


def sample_images(
    network: nn.Module, sampler: Sampler, plan: SamplingPlan, *, progress: Progress, device: torch.device | None = None
) -> Iterator[tuple[int, ImageU8]]:
    """Yield (index, image) for each index of `plan`, batch after batch; an image is (size_px, size_px) uint8.

    Arguments and errors are those of `sample_unit_images`.
    """
    for index, image_unit in sample_unit_images(network, sampler, plan, progress=progress, device=device):
        yield index, round_unit(image_unit)


def sample_unit_images(
    network: nn.Module, sampler: Sampler, plan: SamplingPlan, *, progress: Progress, device: torch.device | None = None
) -> Iterator[tuple[int, ImageUnit]]:
    """Yield (index, image) for each index of `plan`; an image is (size_px, size_px) float32, nominally in [0, 1].

    Args:
        network: predicts eps or v from (x_t, timesteps), see `network.build_network`; already on `device`.
        sampler: the reverse process.
        plan: which images, and how.
        progress: told of each batch, and asked at each denoising step whether to go on.
        device: where the network is; the CPU if not given.

    Raises:
        Cancelled, Stopping: from `progress`, within one denoising step.
        SamplesNotFinite: an image has NaN or infinite values.
        BatchDoesNotFit: the device has too little memory for a batch.
    """
    network.eval()
    device = device or torch.device("cpu")
    (low, high), indices, total = plan.value_range, plan.indices, len(plan.indices)
    for start in range(0, total, plan.batch_size):
        batch = indices[start : start + plan.batch_size]
        generators = [open_stream(plan.seed, Stream.IMAGE, index) for index in batch]
        try:
            x_0 = denoise_batch(network, sampler, plan, generators, progress, device)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            raise BatchDoesNotFit(
                f"A batch of {plan.batch_size} images of {plan.size_px} px needs more memory than {device} has free; "
                "ask for a smaller batch_size."
            ) from error
        images_unit = ((x_0[: len(batch)] - low) / (high - low)).squeeze(1).cpu().numpy()
        _require_finite(batch, images_unit)
        progress.update(start + len(batch), total)
        yield from zip(batch, images_unit, strict=True)


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a GPU, or the allocator of the CPU, whose error has no class of its own, had nothing left to give."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _require_finite(indices: Sequence[int], images_unit: NDArray[np.float32]) -> None:
    """Raise SamplesNotFinite, naming the first of the images, (N, H, W), that has values which are not finite."""
    finite = np.isfinite(images_unit).all(axis=(1, 2))
    if not finite.all():
        raise SamplesNotFinite(
            f"Image {indices[int(np.argmin(finite))]} came out with values that are not numbers: the model's weights "
            "are broken, as after a training that diverged. Train again with a smaller learning_rate, or import the "
            "weights anew."
        )


@torch.inference_mode()
def denoise_batch(
    network: nn.Module,
    sampler: Sampler,
    plan: SamplingPlan,
    generators: list[Generator],
    progress: Progress,
    device: torch.device,
) -> Tensor:
    """x_0, (batch_size, 1, H, W) float32, of one batch; rows beyond the generators are padding."""
    shape = (plan.batch_size, 1, plan.size_px, plan.size_px)
    times = torch.tensor(sampler.timesteps, device=device)
    x_t = _draw_noise(generators, shape, device)  # x_T ~ N(0, I)
    bfloat16 = plan.precision == "bfloat16"
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=bfloat16)  # Around all steps: weights are cast once.
    with _exact_convolutions(), autocast:
        for i in range(len(sampler)):
            progress.raise_if_cancelled()
            predicted = network(x_t, times[i].expand(plan.batch_size)).float()
            last = i == len(sampler) - 1
            noise = _draw_noise(generators, shape, device) if sampler.noisy and not last else None
            with torch.autocast(device.type, enabled=False):
                x_t = sampler.step(predicted, i, x_t, noise)
    return x_t


@contextmanager
def _exact_convolutions() -> Iterator[None]:
    """Within it, a GPU's float32 convolutions are just that: by default it rounds what they take to 10 bits (TF32)."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _draw_noise(generators: list[Generator], shape: tuple[int, int, int, int], device: torch.device) -> Tensor:
    """Standard normal noise of `shape`, (N, 1, H, W) float32, row k from generator k and zeros where there is none."""
    noise = torch.zeros(shape, pin_memory=device.type == "cuda")
    for row, generator in zip(noise, generators, strict=False):
        torch.randn(shape[1:], generator=generator, out=row)
    return noise.to(device, non_blocking=True)  # From pinned memory a GPU takes it without holding up this thread.
