"""Presets: all that defines a diffusion model and its training, as data; without torch, for the sake of the api."""

import math
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.errors import InvalidInput

SamplerName = Literal["ddpm", "ddim"]
SAMPLER_NAMES: Final[tuple[SamplerName, ...]] = ("ddpm", "ddim")
MAX_SIZE_PX: Final = 256
"""Side of the preprocessed images, pixels; a network trained at more would learn an upscaler."""


class PresetUnknown(InvalidInput):
    """No preset of this name."""


class PresetValueInvalid(InvalidInput):
    """A field of the preset was overridden with a value that cannot work."""


class TooManySteps(InvalidInput):
    """More denoising steps than the network was trained on."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class UNetConfig(_Frozen):
    """Shape of the noise predictor, a MONAI `DiffusionModelUNet` with one gray channel in and out."""

    channels: tuple[int, ...] = Field(description="Feature channels at each resolution level, finest first.")
    attention_levels: tuple[bool, ...] = Field(description="Whether each level has self-attention, finest first.")
    res_blocks: int = Field(1, ge=1, description="Residual blocks at each level.")
    head_channels: int = Field(description="Channels of each attention head.")
    norm_groups: int = Field(32, description="Groups of every group normalisation; divides each entry of `channels`.")
    patch_px: int = Field(
        1,
        ge=1,
        description="Side in pixels of the square patches folded into channels before the first layer; 1 folds none.",
    )

    @property
    def size_multiple_px(self) -> int:
        """The image side must be a multiple of this many pixels: one patch, halved between levels."""
        return int(self.patch_px * 2 ** (len(self.channels) - 1))


class ScheduleConfig(_Frozen):
    """The forward noising process of Ho et al. 2020 (arXiv:2006.11239), section 4: linear betas, 1000 steps."""

    train_steps: int = Field(1000, ge=2, description="Diffusion steps T the network is trained on.")
    beta_start: float = Field(1e-4, gt=0, lt=1, description="Noise variance added by the first step.")
    beta_end: float = Field(2e-2, gt=0, lt=1, description="Noise variance added by the last step.")
    prediction: Literal["epsilon", "v_prediction"] = Field(
        "epsilon",
        description="What the network predicts: the noise eps, or v = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x_0.",
    )
    clip: bool = Field(True, description="Whether the predicted clean image is clipped to [-1, 1] while sampling.")


class Preset(_Frozen):
    """One complete recipe for a diffusion model."""

    name: str
    unet: UNetConfig
    schedule: ScheduleConfig = ScheduleConfig()
    size_px: Annotated[int, Field(ge=8, le=MAX_SIZE_PX, description="Side of the images the network sees, pixels.")]
    resize: Literal["bilinear", "area"] = Field("area", description="How images are brought to `size_px`.")
    value_range: tuple[float, float] = Field(
        (-1.0, 1.0), description="What gray levels 0 and 255 become; noise has variance 1, so [-1, 1] is centred on it."
    )
    learning_rate: Annotated[float, Field(gt=0, le=0.1, description="Step size of Adam (default betas), per update.")]
    warmup_updates: int = Field(0, ge=0, description="Updates over which the step size rises linearly from 0.")
    cooldown_share: float = Field(
        0.0, ge=0, le=1, description="Share of all updates, at the end, over which the step size falls linearly to 0."
    )
    batch_size: Annotated[int, Field(ge=1, le=512, description="Images per update; the last batch may be smaller.")]
    epochs: Annotated[int, Field(ge=1, le=100_000, description="Passes over all training images.")]
    ema_decay: Annotated[
        float | None,
        Field(gt=0, lt=1, description="Decay per update of the weights' moving average; none: no average."),
    ]
    sampler: SamplerName = Field("ddim", description="Sampler used when a request names none.")
    sampler_steps: int = Field(50, ge=1, description="Denoising steps used when a request names none.")

    @model_validator(mode="after")
    def _size_fits_the_network(self) -> Self:
        multiple = self.unet.size_multiple_px
        if self.size_px % multiple:
            raise ValueError(f"size must be a multiple of {multiple} px for the {self.name} network")
        return self

    def override(self, **values: int | float | None) -> "Preset":
        """This preset with the given fields replaced; a field given as None keeps the preset's value.

        Raises:
            PresetValueInvalid: a value is out of its range, or the size does not fit the network.
        """
        given = {field: value for field, value in values.items() if value is not None}
        try:
            return Preset.model_validate({**self.model_dump(), **given})
        except ValueError as error:
            reasons = "; ".join(_sentence(problem) for problem in _problems(error))
            raise PresetValueInvalid(f"Preset {self.name} cannot be changed this way: {reasons}.") from None

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
        return (
            self.sampler_steps if sampler == self.sampler else {"ddpm": self.schedule.train_steps, "ddim": 50}[sampler]
        )


def _problems(error: ValueError) -> list[dict[str, object]]:
    return list(getattr(error, "errors", list)())


def _sentence(problem: dict[str, object]) -> str:
    location = problem.get("loc")
    field = ".".join(str(part) for part in location) if isinstance(location, tuple) else ""
    text = str(problem.get("msg", "")).removeprefix("Value error, ")
    return f"{field}: {text}" if field else text


# Every constant of `study` is the published study's (its notebooks, MONAI 1.3.0); 18,500,993 parameters, no EMA.
STUDY: Final = Preset(
    name="study",
    unet=UNetConfig(channels=(128, 256, 256), attention_levels=(False, True, True), head_channels=128),
    size_px=128,
    resize="bilinear",
    value_range=(0.0, 1.0),
    learning_rate=2.5e-5,
    batch_size=16,
    epochs=750,
    ema_decay=None,
    sampler="ddpm",
    sampler_steps=1000,
)

COMPACT: Final = Preset(
    name="compact",
    unet=UNetConfig(
        channels=(32, 64, 128, 128), attention_levels=(False, False, False, True), head_channels=32, norm_groups=16
    ),
    size_px=128,
    learning_rate=2e-4,
    batch_size=16,
    epochs=300,
    ema_decay=0.999,
)

# For CPUs, where updates are dear. Patches follow Hoogeboom et al. 2023, "simple diffusion" (arXiv:2301.11093), section
# 3.3: a quarter of the arithmetic at the finest level. After a short training v gives smooth images, eps grainy ones.
TINY: Final = Preset(
    name="tiny",
    unet=UNetConfig(
        channels=(32, 64, 64), attention_levels=(False, False, True), head_channels=32, norm_groups=16, patch_px=2
    ),
    size_px=64,
    schedule=ScheduleConfig(prediction="v_prediction"),
    warmup_updates=50,
    cooldown_share=0.4,
    learning_rate=1.5e-3,
    batch_size=16,
    epochs=250,
    ema_decay=0.99,
)

TINY_32: Final = TINY.model_copy(
    update={"name": "tiny-32", "size_px": 32, "unet": TINY.unet.model_copy(update={"patch_px": 1})}
)

PRESETS: Final[dict[str, Preset]] = {preset.name: preset for preset in (STUDY, COMPACT, TINY, TINY_32)}


def find_preset(name: str) -> Preset:
    """The preset of this name.

    Raises:
        PresetUnknown: there is none; the sentence lists those there are.
    """
    if name not in PRESETS:
        raise PresetUnknown(f"There is no preset {name!r}; choose one of {', '.join(PRESETS)}.", valid=list(PRESETS))
    return PRESETS[name]
