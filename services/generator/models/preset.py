"""What a preset is: all that defines a diffusion model and its training, as data; no torch, for the api's sake."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.errors import InvalidInput
from shared.texts import Identifier
from shared.tumour import TumourClass

SamplerName = Literal["ddpm", "ddim", "dpm++", "unipc"]
SAMPLER_NAMES: Final[tuple[SamplerName, ...]] = ("ddpm", "ddim", "dpm++", "unipc")
Precision = Literal["auto", "float32", "bfloat16", "float16"]
MAX_EPOCHS: Final = 100_000
MAX_SEED: Final = 2**53 - 1
"""The largest seed that every JSON reader keeps exactly."""
USUAL_STEPS: Final[dict[SamplerName, int]] = {"ddim": 50, "dpm++": 20, "unipc": 20}
"""Denoising steps of each sampler when neither a request nor the preset says; `ddpm` takes all."""
MAX_SIZE_PX: Final = 256
"""Side of the preprocessed images, pixels; a network trained at more would learn an upscaler."""
LEAST_ALPHA_BAR: Final = 1e-9
"""Share of an image's power after the last step; samplers divide by its root. Cosine betas end at 2.4e-9."""


class PresetValueInvalid(InvalidInput):
    """A field of the preset was overridden with a value that cannot work."""


class TooManySteps(InvalidInput):
    """More denoising steps than the network was trained on."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class UNetConfig(_Frozen):
    """Shape of the noise predictor, a MONAI `DiffusionModelUNet` with one gray channel in and out."""

    channels: tuple[Annotated[int, Field(ge=1, le=1024)], ...] = Field(
        min_length=1, max_length=6, description="Feature channels at each resolution level, finest first."
    )
    attention_levels: tuple[bool, ...] = Field(description="Whether each level has self-attention, finest first.")
    res_blocks: int = Field(1, ge=1, le=4, description="Residual blocks at each level.")
    head_channels: int = Field(ge=1, description="Channels of each attention head; divides those of its level.")
    norm_groups: int = Field(
        32, ge=1, description="Groups of every group normalisation; divides each entry of `channels`."
    )
    patch_px: int = Field(
        1,
        ge=1,
        le=8,
        description="Side in pixels of the square patches folded into channels before the first layer; 1 folds none.",
    )

    n_classes: int = Field(
        0,
        ge=0,
        description="Classes the network is told apart from the image, as many as `classes` names; 0: it knows one.",
    )
    fused_attention: bool = Field(
        False, description="Attention by PyTorch's scaled_dot_product_attention, in place of a written-out softmax."
    )

    @model_validator(mode="after")
    def _levels_fit_together(self) -> Self:
        if len(self.attention_levels) != len(self.channels):
            raise ValueError("attention_levels needs one entry for each entry of channels")
        if any(n % self.norm_groups for n in self.channels):
            raise ValueError(f"each entry of channels must be a multiple of norm_groups, {self.norm_groups}")
        attentive = [n for n, attention in zip(self.channels, self.attention_levels, strict=True) if attention]
        if any(n % self.head_channels for n in [*attentive, self.channels[-1]]):  # The middle block attends too.
            raise ValueError(
                f"channels of levels with attention must be multiples of head_channels, {self.head_channels}"
            )
        return self

    @property
    def size_multiple_px(self) -> int:
        """The image side must be a multiple of this many pixels: one patch, halved between levels."""
        return int(self.patch_px * 2 ** (len(self.channels) - 1))


class ScheduleConfig(_Frozen):
    """The forward noising process of Ho et al. 2020 (arXiv:2006.11239), section 4."""

    betas: Literal["linear", "cosine"] = Field(
        "linear",
        description="`linear` from `beta_start` to `beta_end`, or `cosine` in alpha_bar (Nichol & Dhariwal 2021).",
    )

    train_steps: int = Field(1000, ge=2, le=1000, description="Diffusion steps T the network is trained on.")
    beta_start: float = Field(1e-4, gt=0, lt=1, description="Noise variance added by the first step.")
    beta_end: float = Field(2e-2, gt=0, lt=1, description="Noise variance added by the last step.")
    prediction: Literal["epsilon", "v_prediction"] = Field(
        "epsilon",
        description="What the network predicts: the noise eps, or v = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x_0.",
    )
    clip: bool = Field(True, description="Whether the predicted clean image is clipped to [-1, 1] while sampling.")

    @model_validator(mode="after")
    def _betas_rise(self) -> Self:
        if self.beta_start >= self.beta_end:
            raise ValueError("beta_start must be below beta_end")
        if self.betas == "linear" and self._signal_left() < LEAST_ALPHA_BAR:
            raise ValueError(
                f"with this beta_end less than {LEAST_ALPHA_BAR:g} of the power is left after {self.train_steps} "
                "steps, which float32 cannot divide by; lower beta_end, 0.02 is usual"
            )
        return self

    def _signal_left(self) -> float:
        """The last alpha_bar of linear betas, eq. 4 of arXiv:2006.11239."""
        rise = (self.beta_end - self.beta_start) / (self.train_steps - 1)
        return math.exp(sum(math.log1p(-self.beta_start - rise * t) for t in range(self.train_steps)))


class Preset(_Frozen):
    """One complete recipe for a diffusion model."""

    name: Identifier
    unet: UNetConfig
    schedule: ScheduleConfig = ScheduleConfig()
    size_px: Annotated[int, Field(ge=8, le=MAX_SIZE_PX, description="Side of the images the network sees, pixels.")]
    resize: Literal["bilinear", "area"] = Field("area", description="How images are brought to `size_px`.")
    value_range: tuple[float, float] = Field(
        (-1.0, 1.0), description="What gray levels 0 and 255 become; noise has variance 1, so [-1, 1] is centred on it."
    )
    transpose: bool = Field(
        False, description="Whether images are transposed before training, as the study's image reader did."
    )
    jpeg_quality: int | None = Field(
        None, ge=1, le=100, description="Quality of the JPEG that resized images pass through, as in the study; none."
    )
    balanced_classes: tuple[TumourClass, ...] = Field(
        (), description="Classes of which each plane keeps only as many images, its first, as the rarest plane has."
    )
    validation_share: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Share of the images of each plane that are held out to measure the loss on; where "
        "`balanced_classes` are named, a class not among them is split without regard to planes, as in the study; "
        "whole patients are held out where the images name them.",
    )
    validate_every: int = Field(10, ge=1, description="Epochs between two measurements of the validation loss.")
    sample_every: int | None = Field(None, ge=1, description="Epochs between two sheets of sample images; none: none.")
    rotation_deg: float = Field(
        0.0, ge=0, le=45, description="Each epoch turns each chosen image by an angle drawn from +- this, degrees."
    )
    rotation_chance: float = Field(0.5, ge=0, le=1, description="Share of the images that an epoch turns.")
    class_dropout: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Share of the images of each update whose class is withheld, so that a class-conditional network "
        "can be guided.",
    )
    loss_weighting: Literal["uniform", "min_snr"] = Field(
        "uniform",
        description="Weight of each timestep in the loss: equal, or min-SNR-gamma of Hang et al. 2023, "
        "arXiv:2303.09556.",
    )
    min_snr_gamma: float = Field(5.0, gt=0, description="Gamma of `min_snr`.")
    precision: Precision = Field(
        "auto",
        description="Arithmetic of the network in training; `auto` is bfloat16 where the hardware has it; `float16` "
        "scales the loss and needs a GPU, elsewhere it is float32.",
    )
    learning_rate: Annotated[float, Field(gt=0, le=0.1, description="Step size of Adam (default betas), per update.")]
    warmup_updates: int = Field(0, ge=0, description="Updates over which the step size rises linearly from 0.")
    cooldown_share: float = Field(
        0.0, ge=0, le=1, description="Share of all updates, at the end, over which the step size falls linearly to 0."
    )
    gradient_clip: float | None = Field(
        None, gt=0, description="Largest norm of the gradient of an update; a larger one is scaled down to it; none."
    )
    batch_size: Annotated[int, Field(ge=1, le=512, description="Images per update; the last batch may be smaller.")]
    epochs: Annotated[int, Field(ge=1, le=MAX_EPOCHS, description="Passes over all training images.")]
    patience: int | None = Field(
        None,
        ge=1,
        description="Training ends early after so many validations without a lower loss; none: it never does.",
    )
    keep: Literal["last", "best"] = Field(
        "last", description="Weights that sample: the last, or those of the lowest validation loss."
    )
    ema_decay: Annotated[
        float | None,
        Field(gt=0, lt=1, description="Decay per update of the weights' moving average; none: no average."),
    ]
    sampler: SamplerName = Field("ddim", description="Sampler used when a request names none.")
    sampler_steps: int = Field(50, ge=1, description="Denoising steps used when a request names none.")
    guidance: float = Field(
        1.0,
        ge=1,
        le=20,
        description="Weight of the class in classifier-free guidance when a request names none; 1: no guidance.",
    )
    guidance_sigma_min: float = Field(
        0.0,
        ge=0,
        description="Noise level (of noise to signal) at or below which guidance ends, as in Kynkäänniemi et al. 2024, "
        "arXiv:2404.07724; 0: never.",
    )
    guidance_sigma_max: float | None = Field(
        None, gt=0, description="Noise level above which guidance has not begun; none: it acts from the start."
    )
    classes: tuple[TumourClass, ...] = Field(
        (), description="Classes of a class-conditional network, in the order of their numbers; none: it knows one."
    )

    @model_validator(mode="after")
    def _fields_fit_together(self) -> Self:
        multiple = self.unet.size_multiple_px
        if self.size_px % multiple:
            raise ValueError(f"size must be a multiple of {multiple} px for the {self.name} network")
        if self.value_range[0] >= self.value_range[1]:
            raise ValueError("value_range must rise")
        if self.schedule.clip and (self.value_range[0] < -1 or self.value_range[1] > 1):
            raise ValueError(
                "value_range must lie within [-1, 1], to which sampling clips; or set clip of schedule to false"
            )
        if self.guidance_sigma_max is not None and self.guidance_sigma_min >= self.guidance_sigma_max:
            raise ValueError("guidance_sigma_min must be below guidance_sigma_max")
        if len(set(self.classes)) != len(self.classes) or len(self.classes) == 1:
            raise ValueError("classes must be two or more different ones, or none")
        if self.unet.n_classes != len(self.classes):
            raise ValueError(f"unet.n_classes must be the number of classes, {len(self.classes)}; leave it out")
        if not self.validation_share and (self.keep == "best" or self.patience is not None):
            raise ValueError("keep = best and patience need a validation_share above 0")
        return self

    def override(self, **values: Any) -> "Preset":
        """This preset with the given fields replaced; a field given as None keeps the preset's value.

        Raises:
            PresetValueInvalid: see `replace`.
        """
        return self.replace({field: value for field, value in values.items() if value is not None})

    def replace(self, values: Mapping[str, Any]) -> "Preset":
        """This preset with the given fields replaced, by None too where a field may be that.

        `unet` and `schedule` may be given as the dict of those of their fields that change; `unet.n_classes` follows
        `classes`, and `sampler_steps` are lowered to `schedule.train_steps` where they are not named.

        Raises:
            PresetValueInvalid: a field does not exist, a value is out of its range, or values do not fit together.
        """
        changed: dict[str, Any] = self.model_dump()
        for field, value in values.items():
            partial = isinstance(value, Mapping) and isinstance(changed.get(field), dict)
            changed[field] = {**changed[field], **value} if partial else value
        if isinstance(values.get("classes"), list | tuple) and isinstance(changed["unet"], dict):
            changed["unet"] = {**changed["unet"], "n_classes": len(values["classes"])}
        try:
            preset = Preset.model_validate(changed)
        except ValueError as error:
            reasons = "; ".join(_sentence(problem) for problem in _problems(error))
            raise PresetValueInvalid(f"Preset {self.name} cannot be changed this way: {reasons}.") from None
        if preset.sampler_steps <= preset.schedule.train_steps:
            return preset
        if "sampler_steps" in values:
            raise PresetValueInvalid(
                f"sampler_steps is {preset.sampler_steps}, but the network learns {preset.schedule.train_steps} steps "
                "(train_steps of schedule); ask for as many at most."
            )
        return preset.model_copy(update={"sampler_steps": preset.schedule.train_steps})

    def count_updates(self, n_images: int) -> int:
        """Updates of the weights in a whole training on `n_images`."""
        return self.epochs * math.ceil(n_images / self.batch_size)

    def learning_rate_at(self, update: int, n_updates: int) -> float:
        """Step size of Adam at `update` (0, 1, ..., n_updates - 1): warm-up, plateau, cool-down."""
        rise = min(1.0, (update + 1) / self.warmup_updates) if self.warmup_updates else 1.0
        cooldown = self.cooldown_share * n_updates
        fall = min(1.0, (n_updates - update) / cooldown) if cooldown else 1.0
        return self.learning_rate * min(rise, fall)

    def steps_for(self, sampler: SamplerName) -> int:
        """Denoising steps to use with `sampler` when a request names none: all of them for `ddpm`."""
        train_steps = self.schedule.train_steps
        usual = self.sampler_steps if sampler == self.sampler else USUAL_STEPS.get(sampler, train_steps)
        return min(usual, train_steps)


def _problems(error: ValueError) -> list[dict[str, object]]:
    return list(getattr(error, "errors", list)())


def _sentence(problem: dict[str, object]) -> str:
    location = problem.get("loc")
    field = ".".join(str(part) for part in location) if isinstance(location, tuple) else ""
    text = str(problem.get("msg", "")).removeprefix("Value error, ")
    return f"{field}: {text}" if field else text
