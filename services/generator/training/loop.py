"""Training: the loop that teaches a network to tell noise from image, and can stop and go on without a trace.

On a CPU, with the same number of threads, a training that is interrupted and resumed ends with the same bits as one
that is not: what an update draws depends on its number alone (see `batches`), what is measured draws nothing anew, and
all that earlier updates and measurements decide is in the resume bundle.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor

from services.generator.images import check_images
from services.generator.models.footprint import BatchDoesNotFit
from services.generator.models.network import choose_device
from services.generator.models.preset import Preset
from services.generator.sampling.drawing import SamplesNotFinite
from services.generator.training.batches import Batch, Batches
from services.generator.training.curves import (
    Losses,
    Measurement,
    count_images,
    is_lowest,
    stopped_improving,
    write_curves,
)
from services.generator.training.data import TrainingData
from services.generator.training.learner import Learner
from services.generator.training.resume import (
    ResumeState,
    fingerprint_data,
    fingerprint_weights,
    read_resume,
    write_resume,
)
from services.generator.training.sheets import draw_sheet
from services.generator.training.trained_model import AVERAGE, BEST, RAW, TrainedModel
from shared.errors import InvalidInput
from shared.progress import Cancelled, Progress, Stopping

SAVE_EVERY_S: Final = 60.0
CURVES: Final = "curves.json"

SaveResume = Callable[[bytes], None]
Publish = Callable[[str, bytes], None]


class TrainingDiverged(InvalidInput):
    """The loss or a weight stopped being a number."""


class TrainingOutOfMemory(InvalidInput):
    """The network and a batch do not fit into the memory of the GPU."""


def forget_file(name: str, data: bytes) -> None:
    """Publish nothing."""


def train_model(
    data: TrainingData,
    preset: Preset,
    *,
    seed: int,
    progress: Progress,
    start: Mapping[str, Tensor] | None = None,
    save: SaveResume | None = None,
    resume: bytes | None = None,
    save_every_s: float = SAVE_EVERY_S,
    publish: Publish = forget_file,
    compiled: bool = False,
) -> TrainedModel:
    """Train a network of `preset` on `data`.

    Args:
        data: images of side preset.size_px, and those held out if the preset wants some.
        preset: network, schedule, objective and optimiser.
        seed: decides the initial weights, the order of the images, rotations, timesteps, noise and samples.
        progress: told of each update; asked before each, and while measuring, whether to go on.
        start: weights to begin with, of a network of `preset`, in any floating dtype; None: drawn from the seed.
        save: takes a resume bundle when `save_every_s` seconds have passed since the last, between two updates and
            before a measurement or a sheet, and when `progress` stops the training.
        resume: the newest such bundle, to go on from.
        save_every_s: least seconds between bundles; a measurement or a sheet may make it more.
        publish: takes files to look at meanwhile, by name: `curves.json` and sheets of samples.
        compiled: whether updates run the network through torch.compile, see `learner.Learner`.

    Raises:
        TooFewImages, ConstantImages, WrongImageSize: see `images.check_images`.
        TrainingDiverged: the loss is not finite, or a weight at the end.
        TrainingOutOfMemory: of the GPU.
        CheckpointDamaged: `start` does not fit the network.
        ResumeBundleMismatch: `resume` belongs to another training.
        Cancelled, Stopping: from `progress`, after a last bundle.
    """
    check_images(data.images_u8, preset.size_px)
    saved_at = time.monotonic()
    try:
        run = _Run(data, preset, seed, progress, publish, start=start, compiled=compiled)
        if resume is not None:
            run.restore(resume)
        while True:
            if save is not None and time.monotonic() - saved_at >= save_every_s:
                save(run.bundle())
                saved_at = time.monotonic()
            if not run.goes_on():
                return run.result()
            progress.raise_if_cancelled()
            run.update()
    except (Cancelled, Stopping):
        if save is not None:
            save(run.bundle())
        raise
    except torch.OutOfMemoryError as error:
        raise TrainingOutOfMemory(
            f"The GPU has too little memory for a batch of {preset.batch_size} images; train with a smaller batch_size "
            "or size, or a smaller network."
        ) from error


class _Run:
    """One training in memory: its learner, and what was recorded of each update and measured between them."""

    def __init__(
        self,
        data: TrainingData,
        preset: Preset,
        seed: int,
        progress: Progress,
        publish: Publish,
        *,
        start: Mapping[str, Tensor] | None = None,
        compiled: bool = False,
    ) -> None:
        device = choose_device()
        self._preset, self._seed, self._progress, self._publish = preset, seed, progress, publish
        self._id: dict[str, Any] = {
            "data": fingerprint_data(data),
            "preset": preset.model_dump(mode="json"),
            "seed": seed,
        }
        if start is not None:
            self._id["start"] = fingerprint_weights(start)
        self._batches = Batches(data, preset, seed, device)
        self._held_out = self._batches.hold_out()
        self._learner = Learner(preset, seed, device, start=start, compiled=compiled)
        self._n_steps = preset.count_updates(self._batches.n_images)
        self._losses: list[Losses] = []
        self._measurements: list[Measurement] = []
        self._best: dict[str, dict[str, Tensor]] = {}
        self._ahead: Batch | None = None
        self._seconds = 0.0

    def goes_on(self) -> bool:
        """Whether there is another update to make; at the end of an epoch, after looking at what was learned."""
        epoch, position = divmod(len(self._losses), self._batches.per_epoch)
        if epoch and not position:
            self._look_back(epoch)
            if stopped_improving(self._measurements, self._preset.patience):
                return False
        return len(self._losses) < self._n_steps

    def update(self) -> None:
        """Make the next update and tell of it."""
        started, step = time.perf_counter(), len(self._losses)
        batch = self._ahead or self._batches.draw(step)
        losses = self._learner.update(batch, step, self._n_steps)
        # Drawn before the losses are asked for, which waits until a GPU has made the update.
        self._ahead = self._batches.draw(step + 1) if step + 1 < self._n_steps else None
        self._losses.append(Losses(*losses.tolist()))
        self._seconds += time.perf_counter() - started
        if not math.isfinite(self._losses[-1].weighted):
            raise TrainingDiverged(
                f"The loss became {self._losses[-1].weighted} at update {step + 1}; train again with a smaller "
                f"learning_rate than {self._preset.learning_rate}."
            )
        self._progress.update(step + 1, self._n_steps)
        self._progress.note(
            epoch=step // self._batches.per_epoch + 1,
            epochs=self._preset.epochs,
            loss=round(self._losses[-1].plain, 6),
            images_per_s=round(self._images_per_s(), 1),
        )

    def bundle(self) -> bytes:
        """The resume bundle of this moment."""
        return write_resume(self._state(), self._id)

    def restore(self, data: bytes) -> None:
        """Become what `bundle` stored."""
        state = read_resume(data, self._id)
        self._learner.restore(state)
        self._best = {kind: weights for kind, weights in state.weights.items() if kind.startswith(BEST)}
        self._losses, self._measurements, self._seconds = state.losses, state.measurements, state.seconds

    def result(self) -> TrainedModel:
        """What is kept of the finished training."""
        model = TrainedModel.of_state(self._state(), self._preset, self._batches.n_images)
        if not model.is_finite():
            raise TrainingDiverged(
                "A weight is no finite number any more; train again with a smaller learning_rate than "
                f"{self._preset.learning_rate}."
            )
        return model

    def _state(self) -> ResumeState:
        return ResumeState(
            weights=self._learner.weights() | self._best,
            optimizer=self._learner.optimizer_state(),
            losses=self._losses,
            measurements=self._measurements,
            seconds=self._seconds,
            precision=self._learner.precision,
            scaler=self._learner.scaler_state(),
        )

    def _look_back(self, epoch: int) -> None:
        """Measure and show what is due after `epoch` (1, 2, ...), if that was not done before an interruption."""
        preset, last = self._preset, epoch == self._preset.epochs
        if preset.sample_every is not None and (last or epoch % preset.sample_every == 0):
            self._show_samples(epoch)
        measured = bool(self._measurements) and self._measurements[-1].epoch == epoch
        if not measured and (last or epoch % preset.validate_every == 0):
            self._measurements.append(self._measure(epoch))
        if last or epoch % preset.validate_every == 0:
            self._publish(CURVES, json.dumps(self._curves()).encode())

    def _show_samples(self, epoch: int) -> None:
        """Publish a sheet; one that cannot be drawn is noted, for a training does not need it."""
        weights = self._learner.weights()
        try:
            sheet = draw_sheet(
                self._learner.network,
                weights.get(AVERAGE, weights[RAW]),
                self._preset,
                seed=self._seed,
                progress=self._progress,
                dtype=self._learner.dtype,
            )
        except (BatchDoesNotFit, SamplesNotFinite, torch.OutOfMemoryError) as error:
            reason = "were no numbers" if isinstance(error, SamplesNotFinite) else "did not fit into memory"
            self._progress.note(samples=f"Those after epoch {epoch} {reason}; the training went on without them.")
        else:
            self._publish(f"samples_epoch_{epoch:04d}.png", sheet)

    def _measure(self, epoch: int) -> Measurement:
        """Validation losses after `epoch`; weights that are better than ever before are kept."""
        images_per_s = round(self._images_per_s(), 2)
        if self._held_out is None:
            return Measurement(epoch, images_per_s)
        learner, sets = self._learner, self._learner.weights()
        losses = {
            kind: self._held_out.measure(learner.network, weights, learner.objective, learner.dtype, self._progress)
            for kind, weights in sets.items()
        }
        measurement = Measurement(epoch, images_per_s, losses[RAW], losses.get(AVERAGE))
        before = [(m.validation_loss, m.average_validation_loss) for m in self._measurements]
        for number, kind in enumerate((RAW, AVERAGE)):
            if kind in sets and is_lowest(losses[kind], (pair[number] for pair in before)):
                self._best[BEST + kind] = {name: t.to("cpu", copy=True) for name, t in sets[kind].items()}
        self._progress.note(validation_loss=round(losses.get(AVERAGE, losses[RAW]), 6))
        return measurement

    def _curves(self) -> dict[str, Any]:
        return write_curves(self._losses, self._measurements, self._preset, self._batches.n_images)

    def _images_per_s(self) -> float:
        """Images seen per second of updates, over all resumed parts."""
        return count_images(len(self._losses), self._preset, self._batches.n_images) / max(self._seconds, 1e-9)
