"""The generator's HTTP door: train a diffusion model, generate images with one."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Query, UploadFile
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from services.generator import calibrate_jobs, import_jobs, keep_jobs, redraw_jobs, sample_jobs, train_jobs
from services.generator.models.preset import MAX_EPOCHS, MAX_SIZE_PX
from services.generator.models.preset_fields import describe_fields
from services.generator.requests import CalibrationRequest, GenerationRequest, RegenerationRequest, Seed
from services.generator.sampling.recipe import SamplingWishes
from services.generator.shipped_model import register_at_start
from shared.app import caller, create_service_app
from shared.jobs.submission import Caller
from shared.texts import Identifier, Name, Reason
from shared.tumour import TumourClass

router = APIRouter()
CallerDependency = Annotated[Caller, Depends(caller)]


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
    preset: Identifier | None = Field(
        None,
        description="`study` (as published), `rigorous` (the same network, trained as the field does now; for GPUs), "
        "`compact` (128 px, for CPUs), `tiny` (64 px, for a first try; what is taken if left out) or `tiny-32`. With "
        "`start_from` leave it out: it is that model's.",
        examples=["tiny"],
    )
    start_from: Identifier | None = Field(
        None,
        description="Id of a diffusion model to go on from: the training begins with its weights, on these images, "
        "with its preset and what you change of it. Network, schedule and classes stay as they are.",
        examples=["model-5f0c2a9be1d24c7d90aa"],
    )
    epochs: int | None = Field(
        None, ge=1, le=MAX_EPOCHS, description="Passes over all training images.", examples=[300]
    )
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


@router.post("/models/diffusion", status_code=202, tags=["models"])
def train_diffusion_model(request: TrainingRequest, caller: CallerDependency) -> JSONResponse:
    """Train a diffusion model on the images of one class, or one class-conditional model on those of several.

    Only images of split `Training` of a preprocessed image set are used, so that test images stay unseen. Which of
    them are trained on and which held out follows from the preset and the seed; too few images, or ones of a single
    gray level, are refused before any work, and what is odd about them (few images, a rare or an unknown plane) is
    named in the job's notes and in the model card. Where the set knows patients, whole patients are held out.

    The job's notes show epoch, loss, validation loss and speed while it runs, and its files `curves.json` and sheets of
    samples such as `samples_epoch_0050.png`; the finished model keeps them. A worker that dies loses what it did since
    the state was last saved: about a minute of updates, and a measurement or a sheet that it was at. What a cancelled
    training has learned is kept by `POST /models/diffusion/keep`.

    A set whose Testing images occur in Training is refused (409 `known_leakage`) unless it, or `leakage_waiver`, says
    why that is accepted; the reason stays in the model's manifest.
    """
    wishes = train_jobs.TrainingWishes(**request.model_dump(exclude={"image_set", "tumour_class"}))
    return train_jobs.start_training(caller, request.image_set, request.tumour_class, wishes).response()


@router.post("/models/diffusion/keep", status_code=202, tags=["models"])
def keep_diffusion_model(request: KeepingRequest, caller: CallerDependency) -> JSONResponse:
    """Make a model of what a cancelled or failed training had learned when it last saved its state.

    A training saves its state about once a minute of updates and when it is cancelled. The model's card says after how
    many updates it was stopped. The training itself can still be gone on with, by `POST /jobs/{id}/retry`.
    """
    return keep_jobs.start_keeping(caller, request.job, request.name).response()


@router.post("/models/import", status_code=202, tags=["models"])
def import_diffusion_model(
    caller: CallerDependency,
    file: Annotated[UploadFile, File(description="The state dict as a safetensors file.")],
    preset: Annotated[
        Identifier | None,
        Query(description="The preset whose network it is; left out: what the file says.", examples=["study"]),
    ] = None,
    tumour_class: Annotated[
        TumourClass | None,
        Query(
            alias="class",
            description="What it draws; left out for a class-conditional one, and where the file says it.",
        ),
    ] = None,
    config: Annotated[
        str | None,
        Query(
            max_length=20_000,
            description="JSON of the preset's fields that differ, `unet`, `schedule`, `value_range`, `size_px`, "
            "`transpose` and `classes` among them; the `preset` of an export's config.json is one.",
            examples=['{"schedule": {"prediction": "v_prediction"}}'],
        ),
    ] = None,
    name: Annotated[Name | None, Query(description="A name for people.")] = None,
) -> JSONResponse:
    """Make a diffusion model of weights that were trained elsewhere.

    The file holds the state dict of MONAI's `DiffusionModelUNet`, of MONAI 1.4 and later or of the older package
    monai-generative, whose names are translated. A pickle (`.pt`, `.pth`, `.ckpt`) is refused, since it can run code
    when opened; the error says how to convert it. The job fails with `tensors_do_not_fit`, naming the first of them,
    when tensors are missing, left over or misshapen, and with `weights_not_finite` for NaN.

    Files that this platform exports name their preset. Those that `deploy.offline train` writes also say how they were
    trained: the model's card repeats it as the file's word, and if the set they were trained on is yours here, audits
    and calibrations know it.
    """
    wishes = import_jobs.ImportWishes(preset, tumour_class, config, name)
    return import_jobs.start_import(caller, file.file, file.filename or "", wishes).response()


@router.get("/models/{model_id}/export", response_class=StreamingResponse, tags=["models"])
def export_diffusion_model(model_id: Identifier, caller: CallerDependency) -> StreamingResponse:
    """A diffusion model as a zip that MONAI can use without this platform.

    It holds `weights.safetensors` under MONAI's own names, `config.json` with the arguments of its network and its
    scheduler, `sample.py`, which draws an image with them, and `README.txt`.
    """
    headers = {"Content-Disposition": f'attachment; filename="{model_id}.zip"'}
    archive = import_jobs.stream_export(caller.owner, model_id)
    return StreamingResponse(archive, media_type="application/zip", headers=headers)


@router.post("/generate", status_code=202, tags=["generate"])
def generate_images(request: Annotated[GenerationRequest, Query()], caller: CallerDependency) -> JSONResponse:
    """Generate n synthetic MRIs of a tumour class, as a new image set.

    Without `model` your newest model of the class draws; until you have one, the model that comes with the platform.

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


@router.post("/models/{model}/calibrate", status_code=202, tags=["models"])
def calibrate_model(model: Identifier, request: CalibrationRequest, caller: CallerDependency) -> JSONResponse:
    """Measure quality against seconds for the samplers of a diffusion model.

    The report has a curve: for each sampler and number of steps the seconds an image takes, and the Fréchet distance of
    the drawn images from those the model was trained on, in a small space of coarse shape and graininess, beside that
    of real images from real ones. Of a class-conditional model, equally many images of each class are compared: all
    that it was trained on of the rarest class, and as many of the others.

    `quality=fast` and `balanced` of `POST /generate` then take the cheapest setting within 50 % and 10 % of the best,
    unless the request names `settings`. The distance compares samplers of one model; it is no FID.
    """
    return calibrate_jobs.start_calibration(
        caller, model, n=request.n, seed=request.seed, max_seconds=request.max_seconds, settings=request.settings
    ).response()


@router.post("/image-sets/{image_set}/regenerate", status_code=202, tags=["generate"])
def regenerate_images(image_set: Identifier, request: RegenerationRequest, caller: CallerDependency) -> JSONResponse:
    """Draw images of a generated set again, by its recipe, and compare their bytes.

    The job's report says how many came out equal and names the others. They are equal on the machine and with the
    library versions that drew them; elsewhere a pixel may differ by a gray level, which is another file.
    """
    return redraw_jobs.start_regeneration(caller, image_set, request.images).response()


app = create_service_app("generator", router, at_start=register_at_start)
