"""What one measurement says."""

from dataclasses import dataclass
from typing import Final

N_IMAGES: Final = 600  # of a class, as the study drew
DDPM_STEPS: Final = 1000
FEW_STEPS: Final = 20


@dataclass(frozen=True)
class TrainingFigure:
    """A training's speed.

    Args:
        loop: `study`, or `platform`.
        preset: whose network, objective and optimiser.
        variant: what differs from the preset.
        precision: arithmetic of the network.
        batch: images an update.
        images_per_s: images that updates saw per second.
        measured: on how much.
        share_of_peak: floating-point operations of the network's forward and backward, per second, over the peak.
        memory_gib: most memory of the GPU that was in use; None on a CPU.
        profile: where the time of a few updates went, where the share is low and no batch before was faster.
    """

    loop: str
    preset: str
    variant: str
    precision: str
    batch: int
    images_per_s: float
    measured: str
    share_of_peak: float
    memory_gib: float | None = None
    profile: str | None = None


@dataclass(frozen=True)
class DrawingFigure:
    """What 600 images cost.

    Args:
        loop: `study`, or `platform`.
        preset: whose network and schedule.
        variant: what differs from the preset.
        precision: arithmetic of the network.
        batch: images the network sees at once.
        sampler: and its `steps`.
        steps: denoising steps of each image.
        seconds: of 600 images, without encoding and saving them.
        measured: what it is reckoned from, or that it was measured whole.
        share_of_peak: floating-point operations of the network's forward, per second, over the peak.
    """

    loop: str
    preset: str
    variant: str
    precision: str
    batch: int
    sampler: str
    steps: int
    seconds: float
    measured: str
    share_of_peak: float


def reckon_drawing(batch_s: float, *, batch: int, n_drawn: int, steps: int, all_steps: int) -> tuple[float, str]:
    """Seconds of 600 images in `all_steps` steps, and in words what they are reckoned from.

    Every step of every batch costs the same, the last batch being padded, so both counts scale.

    Args:
        batch_s: seconds of `n_drawn` images in `steps` steps.
        batch: images at once.
        n_drawn: how many were drawn.
        steps: in how many steps.
        all_steps: steps of the images that are asked for.
    """
    n_batches, n_measured = -(-N_IMAGES // batch), -(-n_drawn // batch)
    seconds = batch_s * (all_steps / steps) * (n_batches / n_measured)
    if steps == all_steps and n_drawn == N_IMAGES:
        return seconds, "measured whole"
    images = "one image" if n_drawn == 1 else f"{n_drawn} images"
    return seconds, f"reckoned from {steps} steps of {images}"
