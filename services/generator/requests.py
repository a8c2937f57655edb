"""What requests may say about drawing images, calibrating, and drawing again."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from services.generator.models.preset import MAX_SEED, SamplerName
from services.generator.sampling.calibration import Setting
from services.generator.sampling.outputs import Output
from services.generator.sampling.recipe import Quality, SamplingPrecision
from shared.texts import Identifier, ImageName, Name
from shared.tumour import TumourClass

MAX_SIGMA = 1e6
"""Above every noise level that a schedule has: with cosine betas the noisiest step has 20,000."""

Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


class GenerationRequest(BaseModel):
    """What to generate, and how; fields left out follow the model's preset."""

    model_config = ConfigDict(extra="forbid")

    tumour_class: TumourClass = Field(alias="class", description="The class to generate.", examples=["glioma"])
    n: int = Field(ge=1, description="How many images.", examples=[600])
    model: Identifier | None = Field(
        None,
        description="Id of a diffusion model; if left out, your newest that draws the class, else the one that came "
        "with the platform.",
    )
    quality: Quality | None = Field(
        None,
        description="In place of `sampler` and `steps`: `fast`, `balanced`, or `study` (`ddpm`, all steps). The first "
        "two are what the newest `POST /models/{id}/calibrate` without `settings` chose; before one, `dpm++` in 10 "
        "or 25 steps.",
    )
    sampler: SamplerName | None = Field(
        None, description="`dpm++` or `unipc` (some 20 steps), `ddim` (some 50) or `ddpm` (the study's, 1000 steps)."
    )
    steps: int | None = Field(None, ge=1, le=1000, description="Denoising steps for each image.")
    guidance: float | None = Field(
        None,
        ge=1,
        le=20,
        description="Classifier-free guidance of a class-conditional model: 1 is none, more keeps nearer to the class. "
        "If left out, the preset's; 1 for a model that never learned without a class (`class_dropout` 0).",
    )
    guidance_sigma_min: float | None = Field(
        None,
        ge=0,
        le=MAX_SIGMA,
        description="Guidance acts only at noise levels above this one (noise relative to the signal; they fall from "
        "step to step). If left out, the preset's; 0: it acts to the end.",
    )
    guidance_sigma_max: float | None = Field(
        None,
        gt=0,
        le=MAX_SIGMA,
        description="Guidance acts only at noise levels up to this one: the first steps, at which it makes images "
        "alike, go without it, and faster. If left out, the preset's; 1000000: it acts from the start.",
    )
    precision: SamplingPrecision | None = Field(
        None,
        description="Arithmetic of the network; if left out, `bfloat16` for a model trained in it, else `float32`.",
    )
    seed: Seed | None = Field(None, description="Same seed, same images; one is drawn and recorded if left out.")
    output: Output | None = Field(
        None,
        description="`png`, upright gray PNGs, or `study`, as the study saved them: mirrored left-right, enlarged to "
        "twice the network's size, JPEG of quality 75.",
    )
    size: int | None = Field(
        None,
        ge=8,
        le=1024,
        description="Side of the PNGs, pixels; larger than the network's means cubic enlargement.",
    )
    batch_size: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Images the network sees at once, 8 if left out; a GPU is faster with more. Another value may "
        "change a pixel, in `float32` by one gray level of 255.",
    )
    extend: Identifier | None = Field(
        None,
        description="Id of a generated set: the new one begins with its images, untouched, and goes on to `n` by its "
        "recipe. Leave `quality` out; other fields must agree with that recipe or be left out.",
    )
    shard_size: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Images that one worker takes at a time, four batches if left out; fewer where that is more than "
        "4000 steps of one image and more than one batch.",
    )
    name: Name | None = Field(None, description="A name for people.")

    @field_validator("sampler", mode="before")
    @classmethod
    def _read_plus(cls, value: object) -> object:
        """`?sampler=dpm++` arrives with spaces where an unescaped plus was."""
        return value.replace(" ", "+") if isinstance(value, str) else value


class CalibrationRequest(BaseModel):
    """What to measure; usually nothing needs to be said."""

    model_config = ConfigDict(extra="forbid")

    n: int = Field(64, ge=32, le=1000, description="Images for each setting, of the same seeds in all.")
    seed: Seed = Field(0, description="Of the images.")
    max_seconds: float = Field(
        300, gt=0, le=600, description="A setting that would take longer, often `ddpm`, is skipped."
    )
    settings: list[Setting] | None = Field(
        None,
        min_length=1,
        max_length=50,
        description="What to measure; if left out, a grid of `dpm++`, `unipc` and `ddim`, and `ddpm` with all steps. "
        "Only a calibration without this field changes what `quality` stands for.",
        examples=[[{"sampler": "dpm++", "steps": 20}]],
    )


class RegenerationRequest(BaseModel):
    """Which images to draw again."""

    model_config = ConfigDict(extra="forbid")

    images: list[ImageName] = Field(
        min_length=1, max_length=1000, description="Names in the set.", examples=[["glioma/glioma_0124.png"]]
    )
