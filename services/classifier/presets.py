"""What a network and a training are as data, and the three that have a name. Imports no deep-learning framework."""

import dataclasses
from typing import Literal

from shared.errors import InvalidInput

Architecture = Literal["vgg19", "vgg19-compact"]
InputSpace = Literal["raw", "vgg", "pm1"]


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """What builds the same network again.

    Attributes:
        architecture: `vgg19` or `vgg19-compact`.
        size_px: height and width of the input in pixels; 256 for the study's network.
        input_space: `raw` (0..255, as the study), `vgg` (BGR minus the ImageNet means) or `pm1` ([-1, 1]).
    """

    architecture: Architecture
    size_px: int
    input_space: InputSpace


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    Attributes:
        epochs: passes over the data when `updates` is None; an epoch is floor(n / batch_size) updates.
        batch_size: images per update.
        learning_rate: of Adam; the peak when the schedule is `cosine`.
        schedule: `constant` (study) or `cosine` (decays to 0 at the last update; Loshchilov & Hutter 2017, eq. 5).
        order: `once` shuffles a single time and keeps the last short batch, as the study did; `each-pass` shuffles
            before every pass and leaves the remainder out.
        augmentation: `none` (study) or `flip-shift`: mirror left-right with probability 1/2, shift by up to 1/16.
        updates: exact number of optimizer updates, whatever the number of images.
    """

    epochs: int
    batch_size: int = 32
    learning_rate: float = 1e-4
    schedule: Literal["constant", "cosine"] = "constant"
    order: Literal["once", "each-pass"] = "each-pass"
    augmentation: Literal["none", "flip-shift"] = "none"
    updates: int | None = None

    def n_updates(self, n_images: int) -> int:
        """Number of optimizer updates for a set of this size."""
        return self.updates or self.epochs * max(1, n_images // self.batch_size)


@dataclasses.dataclass(frozen=True)
class Preset:
    """A network and how to train it."""

    network: NetworkConfig
    training: TrainingConfig


PRESETS = {
    # Study, section 5.1: raw 0..255, one shuffle, constant rate, 5 epochs of floor(n / 32) updates.
    "study": Preset(
        NetworkConfig("vgg19", 256, "raw"), TrainingConfig(epochs=5, batch_size=32, learning_rate=1e-4, order="once")
    ),
    "vgg19": Preset(
        NetworkConfig("vgg19", 256, "vgg"),
        TrainingConfig(epochs=5, batch_size=32, learning_rate=1e-4, augmentation="flip-shift"),
    ),
    # Seven trials on 400 real images gave .79 to .86 on 200 others (standard error .026): 15 epochs and training
    # without augmentation came last, rates from 1e-3 to 5e-3 and batches of 16 made no certain difference.
    "vgg19-compact": Preset(
        NetworkConfig("vgg19-compact", 64, "pm1"),
        TrainingConfig(epochs=30, batch_size=32, learning_rate=2e-3, schedule="cosine", augmentation="flip-shift"),
    ),
}


def choose_preset(
    name: str,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    size_px: int | None = None,
) -> Preset:
    """The preset with what the request changes about it.

    Raises:
        InvalidInput: no preset has this name, or the study's network is asked for at another size.
    """
    if name not in PRESETS:
        raise InvalidInput(f"There is no preset {name[:40]!r}; choose one of {', '.join(PRESETS)}.", valid=[*PRESETS])
    preset = PRESETS[name]
    if name == "study" and size_px not in (None, preset.network.size_px):
        raise InvalidInput("The preset `study` is the study's network of 256 px; take `vgg19` for another size.")
    default = preset.training
    training = dataclasses.replace(
        default,
        epochs=epochs or default.epochs,
        batch_size=batch_size or default.batch_size,
        learning_rate=learning_rate or default.learning_rate,
    )
    network = dataclasses.replace(preset.network, size_px=size_px or preset.network.size_px)
    return Preset(network, training)


def equal_updates(config: TrainingConfig, n_images: list[int]) -> TrainingConfig:
    """The config with one number of updates for all compositions: that of the largest.

    With epochs fixed, as in the study, a composition with more images also trains for more updates, which alone can
    explain a difference (study, section 7.4).
    """
    return dataclasses.replace(config, updates=max(config.n_updates(n) for n in n_images))
