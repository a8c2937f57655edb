"""How much one run of the benchmark does: all of it for a GPU, or a little of everything to see that it works."""

import math
from dataclasses import dataclass, field
from typing import Any, Final

from services.generator.models.preset import Preset
from services.generator.models.presets import find_preset

PEAK_BAR: Final = 0.5  # share of the measured peak that a training should reach


@dataclass(frozen=True)
class Scale:
    """Sizes of everything that is measured.

    Args:
        overrides: fields of the presets that are changed, for both loops alike.
        n_made_up: training images that are made up where no folder is given; the study had 555 gliomas.
        n_workers: processes of the study's DataLoader; MONAI's tutorial, which the study follows, has 4.
        training_batches: batch sizes that the platform tries in training.
        drawing_batches: likewise in drawing; 600 is a multiple of all but the default, 16.
        measure_s: least seconds of each measurement of a training.
        warm_updates: updates before it.
        study_steps: denoising steps from which one image of the study's loop is reckoned.
        ddpm_steps: likewise of one batch of ours.
        n_drawn: images drawn in 20 steps; 600 are reckoned from them.
        matmul_n: side of the square matrices whose product is the peak.
        compiling_s: seconds that must be left for torch.compile to be tried.
        profile_below: share of the peak below which a training is profiled; a trial profiles whatever share it has.
    """

    overrides: dict[str, Any] = field(default_factory=dict)
    n_made_up: int = 555
    n_workers: int = 4
    training_batches: tuple[int, ...] = (16, 32, 64, 128)
    drawing_batches: tuple[int, ...] = (16, 60, 120, 200)
    measure_s: float = 3.0
    warm_updates: int = 5
    study_steps: int = 250
    ddpm_steps: int = 20
    n_drawn: int = 600
    matmul_n: int = 8192
    compiling_s: float = 150.0
    profile_below: float = PEAK_BAR

    def preset(self, name: str) -> Preset:
        """The platform's preset of this name at this scale."""
        return find_preset(name).replace(self.overrides)


FULL: Final = Scale()
TINY: Final = Scale(
    overrides={"size_px": 16, "unet": {"channels": [8, 16, 16], "head_channels": 8, "norm_groups": 4}},
    n_made_up=12,
    n_workers=0,
    training_batches=(4,),
    drawing_batches=(2, 4),
    measure_s=0.05,
    warm_updates=1,
    study_steps=4,
    ddpm_steps=4,
    n_drawn=4,
    matmul_n=256,
    profile_below=math.inf,
)
