"""Training: the loop that teaches a network to tell noise from image, and can stop and go on without a trace.

Everything random at update k, the images of its batch, their timesteps t and the noise eps, is drawn on the CPU from
generators seeded by (seed, k), so that no random state needs saving. On a CPU, with the same number of threads, a
training that is interrupted and resumed ends with the same bits as one that is not.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from services.generator.averaging import MovingAverage
from services.generator.images import ImageU8, check_images
from services.generator.network import build_network, choose_device, count_parameters, training_dtype
from services.generator.preset import Preset
from services.generator.resume import ResumeState, fingerprint_images, read_resume, write_resume
from services.generator.samplers import training_schedule
from shared.errors import InvalidInput
from shared.progress import Cancelled, Progress, Stopping

SAVE_EVERY_S: Final = 60.0
_SHUFFLING, _NOISING = 0, 1  # Streams of random numbers that must not overlap.

SaveResume = Callable[[bytes], None]


class TrainingDiverged(InvalidInput):
    """The loss stopped being a number."""


@dataclass(frozen=True)
class TrainedModel:
    """What a training ends with.

    Args:
        weights: for sampling: the moving average where the preset keeps one, else the last weights.
        raw_weights: the weights after the last update.
        epoch_losses: mean loss of each epoch, each image counting once.
        seconds: time spent in updates, over all resumed parts.
        images_per_s: images seen per second of that.
        precision: arithmetic of the network, `bfloat16` (autocast) or `float32`.
        n_parameters: numbers adjusted.
    """

    weights: dict[str, Tensor]
    raw_weights: dict[str, Tensor]
    epoch_losses: list[float]
    seconds: float
    images_per_s: float
    precision: str
    n_parameters: int


def train_model(
    images_u8: ImageU8,
    preset: Preset,
    *,
    seed: int,
    progress: Progress,
    save: SaveResume | None = None,
    resume: bytes | None = None,
    save_every_s: float = SAVE_EVERY_S,
) -> TrainedModel:
    """Train a network of `preset` on `images_u8`.

    Args:
        images_u8: (N, H, W) uint8, H = W = preset.size_px, kept in memory as a whole (600 of 128 px are 10 MB).
        preset: network, schedule and optimiser.
        seed: decides the initial weights, the order of the images, the timesteps and the noise.
        progress: told of each update; asked before each whether to go on.
        save: takes a resume bundle, every `save_every_s` seconds and when `progress` stops the training.
        resume: the newest such bundle, to go on from.
        save_every_s: seconds between bundles.

    Raises:
        TooFewImages, ConstantImages, WrongImageSize: see `images.check_images`.
        TrainingDiverged: the loss is not finite.
        ResumeBundleMismatch: `resume` belongs to another training.
        Cancelled, Stopping: from `progress`, after a last bundle.
    """
    check_images(images_u8, preset.size_px)
    run = _Run(images_u8, preset, seed, choose_device())
    if resume is not None:
        run.restore(resume)
    saved_at = time.monotonic()
    for step in range(len(run.losses), run.n_steps):
        try:
            progress.raise_if_cancelled()
        except (Cancelled, Stopping):
            if save is not None:
                save(run.bundle())
            raise
        if save is not None and time.monotonic() - saved_at >= save_every_s:
            save(run.bundle())
            saved_at = time.monotonic()
        run.update(step)
        progress.update(step + 1, run.n_steps)
        progress.note(loss=round(run.losses[-1], 6), images_per_s=round(run.images_per_s(), 1))
    return run.result()


class _Run:
    """One training in memory: network, optimiser and the loss of each update done."""

    def __init__(self, images_u8: ImageU8, preset: Preset, seed: int, device: torch.device) -> None:
        self.losses: list[float] = []
        self._seconds = 0.0
        self._preset, self._seed, self._device = preset, seed, device
        self._dtype = training_dtype(device)
        self._images = scale_images(images_u8, preset.value_range).to(device)
        self._steps_per_epoch = math.ceil(len(images_u8) / preset.batch_size)
        self.n_steps = preset.count_updates(len(images_u8))
        self._schedule = training_schedule(preset.schedule)
        self._network: nn.Module = build_network(preset.unet, seed).to(device).train()
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=preset.learning_rate, fused=True)
        self._average = MovingAverage(self._network, preset.ema_decay) if preset.ema_decay is not None else None
        self._id: dict[str, Any] = {
            "data": fingerprint_images(images_u8),
            "preset": preset.model_dump(mode="json"),
            "seed": seed,
        }

    def update(self, step: int) -> None:
        """Make update `step` (0, 1, ...): Algorithm 1 of Ho et al. 2020 (arXiv:2006.11239), on one batch."""
        started = time.perf_counter()
        x_0 = self._images[self._choose_batch(step)]  # (B, 1, H, W) float32 in the preset's value range
        generator = _seed_generator(self._seed, _NOISING, step)
        t = torch.randint(0, self._preset.schedule.train_steps, (len(x_0),), generator=generator).to(self._device)
        eps = torch.randn(x_0.shape, generator=generator).to(self._device)
        x_t = self._schedule.add_noise(x_0, eps, t)  # eq. 4
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._dtype == torch.bfloat16):
            predicted = self._network(x_t, t)
        target = eps
        if self._preset.schedule.prediction == "v_prediction":
            target = self._schedule.get_velocity(x_0, eps, t)  # Salimans & Ho 2022, arXiv:2202.00512, section 4
        loss = F.mse_loss(predicted.float(), target)  # L_simple, eq. 14
        loss_value = loss.item()
        if not math.isfinite(loss_value):
            raise TrainingDiverged(
                f"The loss became {loss_value} at update {step + 1}; train again with a smaller learning_rate than "
                f"{self._preset.learning_rate}."
            )
        for group in self._optimizer.param_groups:
            group["lr"] = self._preset.learning_rate_at(step, self.n_steps)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no annotation here.
        self._optimizer.step()
        if self._average is not None:
            self._average.update(step + 1)
        self.losses.append(loss_value)
        self._seconds += time.perf_counter() - started

    def images_per_s(self) -> float:
        """Images seen per second of updates, over all resumed parts."""
        epochs, steps = divmod(len(self.losses), self._steps_per_epoch)
        return (epochs * len(self._images) + steps * self._preset.batch_size) / max(self._seconds, 1e-9)

    def bundle(self) -> bytes:
        """The resume bundle of this moment."""
        moments = self._optimizer.state_dict()["state"]
        state = ResumeState(
            weights=self._network.state_dict(),
            average=self._average.state() if self._average else None,
            optimizer=[moments[number] for number in sorted(moments)],
            losses=self.losses,
            seconds=self._seconds,
        )
        return write_resume(state, self._id)

    def restore(self, data: bytes) -> None:
        """Become what `bundle` stored."""
        state = read_resume(data, self._id)
        self._network.load_state_dict(state.weights)
        if self._average is not None and state.average is not None:
            self._average.load(state.average)
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": dict(enumerate(state.optimizer)), "param_groups": groups})
        self.losses, self._seconds = state.losses, state.seconds

    def result(self) -> TrainedModel:
        """What is kept of the finished training."""
        raw = {name: tensor.detach().cpu() for name, tensor in self._network.state_dict().items()}
        averaged = self._average.state() if self._average else raw
        return TrainedModel(
            weights={name: tensor.cpu() for name, tensor in averaged.items()},
            raw_weights=raw,
            epoch_losses=self._mean_per_epoch(),
            seconds=self._seconds,
            images_per_s=self.images_per_s(),
            precision=str(self._dtype).removeprefix("torch."),
            n_parameters=count_parameters(self._network),
        )

    def _choose_batch(self, step: int) -> Tensor:
        """Indices of the images of update `step`: each image once an epoch, in an order of the epoch's own."""
        epoch, position = divmod(step, self._steps_per_epoch)
        order = torch.randperm(len(self._images), generator=_seed_generator(self._seed, _SHUFFLING, epoch))
        start = position * self._preset.batch_size
        return order[start : start + self._preset.batch_size]

    def _mean_per_epoch(self) -> list[float]:
        """Mean loss of each epoch, weighted by images, since the last batch may be smaller."""
        size, n_images = self._preset.batch_size, len(self._images)
        sizes = np.minimum(size, n_images - size * np.arange(self._steps_per_epoch))
        losses = np.asarray(self.losses).reshape(-1, self._steps_per_epoch)
        means: list[float] = (losses @ sizes / n_images).tolist()
        return means


def scale_images(images_u8: ImageU8, value_range: tuple[float, float]) -> Tensor:
    """`images_u8`, (N, H, W) uint8, as (N, 1, H, W) float32 in `value_range`: 0 at its low end, 255 at its high end."""
    low, high = value_range
    return torch.from_numpy(images_u8).unsqueeze(1).float() / 255 * (high - low) + low


def _seed_generator(seed: int, stream: int, number: int) -> Generator:
    """A generator for step or epoch `number` of one stream of random numbers."""
    word = np.random.SeedSequence([seed, stream, number]).generate_state(1, np.uint64)[0]
    return Generator().manual_seed(int(word) >> 1)
