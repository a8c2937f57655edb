"""The generator's HTTP door: train a diffusion model, generate images with one."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator

from services.generator import keep_jobs, redraw_jobs, sample_jobs, train_jobs
from services.generator.outputs import Output
from services.generator.preset import MAX_SIZE_PX, SamplerName
from services.generator.preset_fields import describe_fields
from services.generator.recipe import Quality, SamplingPrecision, SamplingWishes
from shared.app import caller, create_service_app
from shared.jobs.submission import Caller
from shared.texts import Identifier, ImageName, Name, Reason
from shared.tumour import TumourClass

MAX_SEED = 2**53 - 1
"""The largest seed that every JSON reader keeps exactly."""

router = APIRouter()
CallerDependency = Annotated[Caller, Depends(caller)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


class TrainingRequest(BaseModel):
    """What to train, and on what; fields left out keep the preset's values."""

    model_config = ConfigDict(extra="forbid")

    image_set: Identifier = Field(description="Id of a preprocessed image set.", examples=["set-5f0c2a9be1d24c7d90aa"])
    tumour_class: TumourClass | None = Field(
        None,
        alias="class",
        description="The class to learn. Left out, one class-conditional model learns all classes that the set has.",
        examples=["glioma"],
    )
    preset: Identifier = Field(
        "tiny",
        description="`study` (as published), `rigorous` (the same network, trained as the field does now; for GPUs), "
        "`compact` (128 px, for CPUs), `tiny` (64 px, for a first try) or `tiny-32`.",
        examples=["tiny"],
    )
    epochs: int | None = Field(None, ge=1, le=100_000, description="Passes over all training images.", examples=[300])
    batch_size: int | None = Field(None, ge=1, le=512, description="Images per update of the weights.")
    learning_rate: float | None = Field(None, gt=0, le=0.1, description="Step size of the Adam optimiser.")
    size: int | None = Field(None, ge=8, le=MAX_SIZE_PX, description="Side of the images the network learns, pixels.")
    ema_decay: float | None = Field(None, gt=0, lt=1, description="Decay per update of the weights' moving average.")
    overrides: dict[str, Any] = Field(
        default_factory=dict,
        description="Any other fields of the preset, by name; of `unet` and `schedule` only what changes.",
        examples=[{"loss_weighting": "min_snr", "schedule": {"betas": "cosine"}}],
        json_schema_extra={"properties": describe_fields()},
    )
    seed: Seed = Field(
        0, description="Decides initial weights, which images are held out, their order, and noise; the study's was 33."
    )
    name: Name | None = Field(None, description="A name for people.")
    leakage_waiver: Reason | None = Field(
        None, description="Your reason for training on a set whose test images are known to occur in Training."
    )


class KeepingRequest(BaseModel):
    """Which stopped training to keep."""

    model_config = ConfigDict(extra="forbid")

    job: Identifier = Field(
        description="Id of a cancelled or failed job of kind `diffusion.train`.",
        examples=["job-5f0c2a9be1d24c7d90aa"],
    )
    name: Name | None = Field(None, description="A name for people.")


class GenerationRequest(BaseModel):
    """What to generate, and how; fields left out follow the model's preset."""

    model_config = ConfigDict(extra="forbid")

    tumour_class: TumourClass = Field(alias="class", description="The class to generate.", examples=["glioma"])
    n: int = Field(ge=1, description="How many images.", examples=[600])
    model: Identifier | None = Field(
        None, description="Id of a diffusion model; your newest that draws the class if left out."
    )
    quality: Quality | None = Field(
        None,
        description="In place of `sampler` and `steps`: `fast`, `balanced`, or `study` (`ddpm`, all steps). The first "
        "two are what the newest `POST /models/{id}/calibrate` chose; without one, `dpm++` in 10 or 25 steps.",
    )
    sampler: SamplerName | None = Field(
        None, description="`dpm++` or `unipc` (some 20 steps), `ddim` (some 50) or `ddpm` (the study's, 1000 steps)."
    )
    steps: int | None = Field(None, ge=1, le=1000, description="Denoising steps for each image.")
    guidance: float | None = Field(
        None,
        ge=1,
        le=20,
        description="Classifier-free guidance of a class-conditional model: 1 is none, more keeps nearer to the class.",
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
        description="Images the network sees at once; another value may change a pixel, in `float32` by one gray level "
        "of 255.",
    )
    extend: Identifier | None = Field(
        None,
        description="Id of a generated set: the new one begins with its images, untouched, and goes on to `n` by its "
        "recipe. Other fields must agree with that recipe or be left out.",
    )
    shard_size: int | None = Field(None, ge=1, le=1024, description="Images that one worker takes at a time.")
    name: Name | None = Field(None, description="A name for people.")

    @field_validator("sampler", mode="before")
    @classmethod
    def _read_plus(cls, value: object) -> object:
        """`?sampler=dpm++` arrives with spaces where an unescaped plus was."""
        return value.replace(" ", "+") if isinstance(value, str) else value


class RegenerationRequest(BaseModel):
    """Which images to draw again."""

    model_config = ConfigDict(extra="forbid")

    images: list[ImageName] = Field(
        min_length=1, max_length=1000, description="Names in the set.", examples=[["glioma/glioma_0124.png"]]
    )


@router.post("/models/diffusion", status_code=202, tags=["models"])
def train_diffusion_model(request: TrainingRequest, caller: CallerDependency) -> JSONResponse:
    """Train a diffusion model on the images of one class, or one class-conditional model on those of several.

    Only images of split `Training` of a preprocessed image set are used, so that test images stay unseen. Which of
    them are trained on and which held out follows from the preset and the seed; too few images, or ones of a single
    gray level, are refused before any work, and what is odd about them (few images, a rare or an unknown plane) is
    named in the job's notes and in the model card.

    The job's notes show epoch, loss, validation loss and speed while it runs, and its files `curves.json` and sheets of
    samples such as `samples_epoch_0050.png`; the finished model keeps them. A worker that dies loses at most a minute
    of work. What a cancelled training has learned is kept by `POST /models/diffusion/keep`.

    A set whose Testing images occur in Training is refused (409 `known_leakage`) unless it, or `leakage_waiver`, says
    why that is accepted; the reason stays in the model's manifest.
    """
    wishes = train_jobs.TrainingWishes(**request.model_dump(exclude={"image_set", "tumour_class"}))
    return train_jobs.start_training(caller, request.image_set, request.tumour_class, wishes).response()


@router.post("/models/diffusion/keep", status_code=202, tags=["models"])
def keep_diffusion_model(request: KeepingRequest, caller: CallerDependency) -> JSONResponse:
    """Make a model of what a cancelled or failed training had learned when it last saved its state.

    A training saves its state about once a minute and when it is cancelled. The model's card says after how many
    updates it was stopped. The training itself can still be gone on with, by `POST /jobs/{id}/retry`.
    """
    return keep_jobs.start_keeping(caller, request.job, request.name).response()


@router.post("/generate", status_code=202, tags=["generate"])
def generate_images(request: Annotated[GenerationRequest, Query()], caller: CallerDependency) -> JSONResponse:
    """Generate n synthetic MRIs of a tumour class, as a new image set.

    Image k of a seed is the same image whatever n is and however many workers draw. The set's manifest records the
    model, the sampler and the seed, so that every image can be made again (`POST /image-sets/{id}/regenerate`) and the
    set be extended without drawing its images anew (`extend`).
    """
    apart = {"tumour_class", "n", "extend", "shard_size", "name"}
    wishes = SamplingWishes(**request.model_dump(exclude=apart))
    return sample_jobs.start_generation(
        caller,
        request.tumour_class,
        request.n,
        wishes,
        extend=request.extend,
        shard_size=request.shard_size,
        name=request.name,
    ).response()


@router.post("/image-sets/{image_set}/regenerate", status_code=202, tags=["generate"])
def regenerate_images(image_set: Identifier, request: RegenerationRequest, caller: CallerDependency) -> JSONResponse:
    """Draw images of a generated set again, by its recipe, and compare their bytes.

    The job's report says how many came out equal and names the others. They are equal on the machine and with the
    library versions that drew them; elsewhere a pixel may differ by a gray level, which is another file.
    """
    return redraw_jobs.start_regeneration(caller, image_set, request.images).response()


app = create_service_app("generator", router)
