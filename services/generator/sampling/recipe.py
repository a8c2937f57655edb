"""The recipe of a drawn image: all that decides its pixels but the model's weights, its class and its index."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from services.generator.models.preset import Preset, SamplerName, TooManySteps
from services.generator.sampling.outputs import Output
from services.generator.sampling.study_output import ENLARGEMENT
from shared.errors import InvalidInput

Quality = Literal["fast", "balanced", "study"]
SamplingPrecision = Literal["float32", "bfloat16"]
DEFAULT_BATCH_SIZE: Final = 8
"""Images the network sees at once. On two cores more of them gain nothing, while a request for few images waits for
those that fill up its last batch; on a GPU a request can ask for more."""
UNCALIBRATED: Final[dict[Quality, tuple[SamplerName, int]]] = {"fast": ("dpm++", 10), "balanced": ("dpm++", 25)}
"""What `quality` means for a model that was never calibrated. From 100 steps of `unipc`, `dpm++` was 3.6 gray levels
away at 10 steps, 1.1 at 20 and 0.5 at 25 (`ddim` at 20: 4.2; mean absolute difference, partly trained
`compact` network). `study` is `ddpm` with all steps, calibrated or not."""
_DRAWN_SEED_BITS: Final = 32


class SizeTooSmall(InvalidInput):
    """Images smaller than the network draws them."""


class StudySizeFixed(InvalidInput):
    """The study's output has one size: twice the network's."""


class GuidanceNeedsClasses(InvalidInput):
    """Guidance leads from no class to one, and the network was not trained on both."""


class GuidanceIntervalEmpty(InvalidInput):
    """No noise level lies in the interval in which guidance was asked for."""


class QualityOrSampler(InvalidInput):
    """`quality` chooses sampler and steps, and the request names them too."""


class SamplingRecipe(BaseModel):
    """Stored with each image; the members with defaults were added later, and had these values before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    sampler: SamplerName
    steps: int
    seed: int
    size: int
    batch_size: int
    precision: SamplingPrecision = "float32"
    guidance: float = 1.0
    guidance_sigma_min: float = 0.0
    guidance_sigma_max: float | None = None
    output: Output = "png"


@dataclass(frozen=True)
class SamplingWishes:
    """What a request may say about how to sample; None leaves it to the model's preset."""

    model: str | None = None
    sampler: SamplerName | None = None
    steps: int | None = None
    quality: Quality | None = None
    seed: int | None = None
    size: int | None = None
    batch_size: int | None = None
    precision: SamplingPrecision | None = None
    guidance: float | None = None
    guidance_sigma_min: float | None = None
    guidance_sigma_max: float | None = None
    output: Output | None = None

    def __post_init__(self) -> None:
        if self.quality is not None and (self.sampler is not None or self.steps is not None):
            raise QualityOrSampler(
                f"quality={self.quality} chooses sampler and steps by itself; send either quality or sampler and steps."
            )


def resolve_recipe(
    preset: Preset,
    model_id: str,
    wishes: SamplingWishes,
    *,
    trained_precision: str | None = None,
    calibrated: Mapping[str, Mapping[str, Any]] | None = None,
) -> SamplingRecipe:
    """The recipe for `wishes` and the model's preset.

    Args:
        preset: the model's.
        model_id: the model's id.
        wishes: what the request says.
        trained_precision: arithmetic of the network in training, from the model's card. A network trained in bfloat16
            has learned to live with its rounding, and is drawn with it; others are drawn in float32. The worker that
            draws has no say, so that all workers draw the same.
        calibrated: the newest calibration's choice, {"sampler", "steps"}, for each quality.

    Raises:
        TooManySteps, SizeTooSmall, StudySizeFixed, GuidanceNeedsClasses, GuidanceIntervalEmpty: at once.
    """
    sampler, steps = _choose_sampler(preset, wishes, calibrated or {})
    if steps > preset.schedule.train_steps:
        trained = preset.schedule.train_steps
        raise TooManySteps(f"steps is {steps}; model {model_id} was trained on {trained} steps.", maximum=trained)
    return SamplingRecipe(
        model=model_id,
        sampler=sampler,
        steps=steps,
        seed=secrets.randbits(_DRAWN_SEED_BITS) if wishes.seed is None else wishes.seed,
        size=_choose_size(preset, model_id, wishes),
        batch_size=wishes.batch_size or DEFAULT_BATCH_SIZE,
        precision=wishes.precision or ("bfloat16" if trained_precision == "bfloat16" else "float32"),
        **_choose_guidance(preset, model_id, wishes),
        output=wishes.output or "png",
    )


def _choose_sampler(
    preset: Preset, wishes: SamplingWishes, calibrated: Mapping[str, Mapping[str, Any]]
) -> tuple[SamplerName, int]:
    if wishes.quality == "study":
        return "ddpm", preset.schedule.train_steps
    if wishes.quality is not None and wishes.quality in calibrated:
        chosen = calibrated[wishes.quality]
        return chosen["sampler"], chosen["steps"]
    if wishes.quality is not None:
        sampler, steps = UNCALIBRATED[wishes.quality]
        return sampler, min(steps, preset.schedule.train_steps)
    sampler = wishes.sampler or preset.sampler
    return sampler, wishes.steps or preset.steps_for(sampler)


def _choose_guidance(preset: Preset, model_id: str, wishes: SamplingWishes) -> dict[str, Any]:
    """Weight and interval of noise levels; without guidance the recipe names no interval."""
    guidable = bool(preset.classes and preset.class_dropout)  # Else the preset's guidance has nothing to lead away from
    interval = (wishes.guidance_sigma_min, wishes.guidance_sigma_max)
    if not guidable and (wishes.guidance not in (None, 1) or interval != (None, None)):
        asked = "An interval of guidance" if wishes.guidance in (None, 1) else f"Guidance of {wishes.guidance:g}"
        reason = "knows one class only" if not preset.classes else "never learned without a class (class_dropout 0)"
        raise GuidanceNeedsClasses(
            f"{asked} is asked for, but model {model_id} {reason}; leave it out or name another model."
        )
    guidance = wishes.guidance or (preset.guidance if guidable else 1.0)
    if guidance == 1:
        return {"guidance": guidance}
    low = preset.guidance_sigma_min if interval[0] is None else interval[0]
    high = preset.guidance_sigma_max if interval[1] is None else interval[1]
    if high is not None and low >= high:
        raise GuidanceIntervalEmpty(
            f"Guidance would act at noise levels above {low:g} and up to {high:g}, which is none; ask for a "
            "guidance_sigma_min below guidance_sigma_max. What is left out is the model's."
        )
    return {"guidance": guidance, "guidance_sigma_min": low, "guidance_sigma_max": high}


def _choose_size(preset: Preset, model_id: str, wishes: SamplingWishes) -> int:
    """Side of the images in pixels."""
    if wishes.output == "study":
        fixed = ENLARGEMENT * preset.size_px
        if wishes.size not in (None, fixed):
            raise StudySizeFixed(f"output=study makes images of {fixed} px from model {model_id}; leave size out.")
        return fixed
    size = wishes.size or preset.size_px
    if size < preset.size_px:
        raise SizeTooSmall(f"size is {size} px, but model {model_id} draws {preset.size_px} px; ask for that or more.")
    return size
