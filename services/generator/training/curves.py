"""The course of a training, as the JSON that is shown while it runs and kept in the model card; no torch."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from services.generator.models.preset import Preset


@dataclass(frozen=True)
class Losses:
    """Loss of one update: the mean squared error, and the same weighted by timestep, which the update lowers."""

    plain: float
    weighted: float


@dataclass(frozen=True)
class Measurement:
    """What was measured at the end of an epoch (1, 2, ...).

    Args:
        images_per_s: images seen per second of updates until then.
        validation_loss: mean squared error of the weights on the images held out; None where there are none. It is NaN
            or infinite where the arithmetic overflowed, which says nothing of the weights and ends no training.
        average_validation_loss: the same of the weights' moving average; None where there is none.
    """

    epoch: int
    images_per_s: float
    validation_loss: float | None = None
    average_validation_loss: float | None = None

    @property
    def sampling_loss(self) -> float | None:
        """Validation loss of the weights that sample: the average where there is one."""
        return self.validation_loss if self.average_validation_loss is None else self.average_validation_loss


def count_images(n_updates: int, preset: Preset, n_images: int) -> int:
    """Images seen in `n_updates` updates, an image once for each epoch; the last batch of an epoch may be smaller."""
    epochs, steps = divmod(n_updates, math.ceil(n_images / preset.batch_size))
    return epochs * n_images + steps * preset.batch_size


def mean_per_epoch(losses: Sequence[float], n_images: int, batch_size: int) -> list[float]:
    """Mean loss of each whole epoch, weighted by images, since the last batch may be smaller."""
    per_epoch = math.ceil(n_images / batch_size)
    sizes = np.minimum(batch_size, n_images - batch_size * np.arange(per_epoch))
    whole = len(losses) // per_epoch * per_epoch
    means: list[float] = (np.asarray(losses[:whole]).reshape(-1, per_epoch) @ sizes / n_images).tolist()
    return means


def write_curves(
    losses: Sequence[Losses], measurements: Sequence[Measurement], preset: Preset, n_images: int
) -> dict[str, Any]:
    """The curves of a training on `n_images`, as columns.

    `loss` is the mean squared error of each epoch, comparable between presets of the same prediction; `weighted_loss`
    is what the training lowers. `learning_rate` is that of an epoch's last update. A validation loss that is no number
    is None, since JSON has no NaN and no infinity.
    """
    plain = mean_per_epoch([loss.plain for loss in losses], n_images, preset.batch_size)
    weighted = mean_per_epoch([loss.weighted for loss in losses], n_images, preset.batch_size)
    n_updates, per_epoch = preset.count_updates(n_images), math.ceil(n_images / preset.batch_size)
    epochs = range(1, len(plain) + 1)
    return {
        "epoch": list(epochs),
        "loss": plain,
        "weighted_loss": weighted,
        "learning_rate": [preset.learning_rate_at(epoch * per_epoch - 1, n_updates) for epoch in epochs],
        "measurements": [_write_measurement(measurement) for measurement in measurements],
    }


def is_lowest(loss: float, earlier: Iterable[float | None]) -> bool:
    """Whether `loss` is a number and below all numbers that were measured `earlier`."""
    return math.isfinite(loss) and all(loss < _comparable(other) for other in earlier if other is not None)


def stopped_improving(measurements: Sequence[Measurement], patience: int | None) -> bool:
    """Whether the last `patience` validations were all without a lower loss of the weights that sample.

    One whose loss is no number is without; before the first number there is nothing to be lower than.
    """
    losses = [_comparable(loss) for measurement in measurements if (loss := measurement.sampling_loss) is not None]
    if patience is None or min(losses, default=math.inf) == math.inf:
        return False
    return len(losses) - 1 - int(np.argmin(losses)) >= patience


def _comparable(loss: float) -> float:
    return loss if math.isfinite(loss) else math.inf


def _write_measurement(measurement: Measurement) -> dict[str, float | None]:
    numbers = asdict(measurement)
    return {name: number if number is None or math.isfinite(number) else None for name, number in numbers.items()}
