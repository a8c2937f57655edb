"""What a training ends with, or had learned when it was stopped."""

from collections.abc import Container
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from torch import Tensor

from services.generator.models.preset import Preset
from services.generator.training.curves import count_images, write_curves
from services.generator.training.resume import ResumeState

RAW: Final = "raw"
"""The weights after the last update."""
AVERAGE: Final = "average"
"""Their moving average."""
BEST: Final = "best_"
"""Before `raw` or `average`: those weights when their validation loss was lowest."""


@dataclass(frozen=True)
class TrainedModel:
    """A diffusion model and how it came about.

    Args:
        weights: sets of weights, on the CPU: `raw`, `average`, `best_raw` and `best_average`, as far as there are such.
        chosen: the name of the set to sample with.
        curves: see `curves.write_curves`.
        n_updates: updates made.
        seconds: time spent in updates, over all resumed parts.
        images_per_s: images seen per second of that.
        precision: arithmetic of the network, for example `bfloat16` (autocast).
        n_parameters: numbers adjusted.
    """

    weights: dict[str, dict[str, Tensor]]
    chosen: str
    curves: dict[str, Any]
    n_updates: int
    seconds: float
    images_per_s: float
    precision: str
    n_parameters: int

    @classmethod
    def of_state(cls, state: ResumeState, preset: Preset, n_images: int) -> Self:
        """The model of a training of `preset` on `n_images` that has come to `state`."""
        n_updates = len(state.losses)
        return cls(
            weights={kind: {name: t.cpu() for name, t in weights.items()} for kind, weights in state.weights.items()},
            chosen=choose_weights(state.weights, preset.keep),
            curves=write_curves(state.losses, state.measurements, preset, n_images),
            n_updates=n_updates,
            seconds=state.seconds,
            images_per_s=count_images(n_updates, preset, n_images) / max(state.seconds, 1e-9),
            precision=state.precision,
            n_parameters=sum(tensor.numel() for tensor in state.weights[RAW].values()),
        )

    def is_finite(self) -> bool:
        """Whether no weight of any set is NaN or infinite."""
        return all(bool(t.isfinite().all()) for weights in self.weights.values() for t in weights.values())


def choose_weights(kinds: Container[str], keep: Literal["last", "best"]) -> str:
    """Which set of a training's weights samples: the average where there is one, the best if wanted and measured."""
    last = AVERAGE if AVERAGE in kinds else RAW
    return BEST + last if keep == "best" and BEST + last in kinds else last
