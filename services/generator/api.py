"""The generator's HTTP door: train a diffusion model, generate images with one."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from services.generator import sample_jobs, train_jobs
from services.generator.preset import MAX_SIZE_PX, SamplerName
from services.generator.preset_fields import describe_fields
from shared.app import caller, create_service_app
from shared.jobs.submission import Caller
from shared.texts import Identifier, Name, Reason
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


class GenerationRequest(BaseModel):
    """What to generate, and how; fields left out follow the model's preset."""

    model_config = ConfigDict(extra="forbid")

    tumour_class: TumourClass = Field(alias="class", description="The class to generate.", examples=["glioma"])
    n: int = Field(ge=1, description="How many images.", examples=[600])
    model: Identifier | None = Field(None, description="Id of a diffusion model; your newest of the class if left out.")
    sampler: SamplerName | None = Field(None, description="`ddim` (few steps) or `ddpm` (the study's, 1000 steps).")
    steps: int | None = Field(None, ge=1, le=1000, description="Denoising steps for each image.")
    seed: Seed | None = Field(None, description="Same seed, same images; one is drawn and recorded if left out.")
    size: int | None = Field(
        None,
        ge=8,
        le=1024,
        description="Side of the images, pixels; larger than the network's means cubic enlargement.",
    )
    batch_size: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Images the network sees at once; another value may change a pixel by one gray level.",
    )
    shard_size: int | None = Field(None, ge=1, le=1024, description="Images that one worker takes at a time.")
    name: Name | None = Field(None, description="A name for people.")


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


@router.post("/generate", status_code=202, tags=["generate"])
def generate_images(request: Annotated[GenerationRequest, Query()], caller: CallerDependency) -> JSONResponse:
    """Generate n synthetic MRIs of a tumour class, as a new image set.

    Image k of a seed is the same image whatever n is and however many workers draw. The set's manifest records the
    model, the sampler and the seed, so that every image can be made again.
    """
    wishes = sample_jobs.SamplingWishes(**request.model_dump(exclude={"tumour_class", "n"}))
    return sample_jobs.start_generation(caller, request.tumour_class, request.n, wishes).response()


app = create_service_app("generator", router)
