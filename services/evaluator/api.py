"""The private HTTP edge of the evaluator: audit, exclude, evaluate, library weights."""

from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Depends, File, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.evaluator import audit_jobs, evaluation_jobs, exclude_jobs, installation
from services.evaluator.metrics.assessment import Metric
from services.evaluator.metrics.selection import SplitChoice
from services.evaluator.requests import AuditRequest, ExcludeRequest
from services.evaluator.settings import get_evaluator_settings
from shared.app import caller, create_service_app
from shared.errors import TooLarge
from shared.jobs.submission import Caller
from shared.texts import Identifier, Name
from shared.tumour import TumourClass

router = APIRouter()


class EvaluateRequest(BaseModel):
    """Which images to compare, by which scores, in which feature space."""

    model_config = ConfigDict(extra="forbid")

    synthetic: Identifier = Field(description="Id of the image set under test.", examples=["set-0a1b2c3d4e5f60718293"])
    real: Identifier = Field(
        description="Id of the image set to compare it with, best the preprocessed set the model was trained on.",
        examples=["set-5f0c2a9be1d24c7d90aa"],
    )
    metrics: list[Metric] | None = Field(
        default=None,
        min_length=1,
        max_length=len(Metric),
        description="`fid` (Fréchet distance), `kid` (kernel distance), `is` (Inception score), `precision`, `recall`, "
        "`density`, `coverage` (from nearest neighbours), `fid_infinity` (Fréchet distance extrapolated to infinitely "
        "many images). By default all that the numbers of images allow: the four from neighbours need 6 on each side, "
        "`fid_infinity` 20.",
        examples=[["fid", "kid", "precision", "recall"]],
    )
    features: Literal["inception", "classifier", "radiomics"] = Field(
        default="inception",
        description="`inception`: as published, needs `synthmri weights install inception`. "
        "`classifier`: features of a classifier trained here, needs no download. `radiomics`: 77 measured properties "
        "of gray levels and texture on the scale of the real images, so that `fid` is the Fréchet Radiomics Distance; "
        "no `is`; needs `make setup EXTRAS=radiomics`.",
    )
    mode: Literal["rigorous", "study"] = Field(
        default="rigorous",
        description="`study` adds the figures of the published study by its own formulas, marked not comparable: its "
        "Inception Score with entropies in bits, beside the right one, and its FID, which needs `synthmri weights "
        "install keras-inception`.",
    )
    resize: Literal["allow", "refuse"] = Field(
        default="allow",
        description="What to do where images have several pixel sizes: resize them to the commonest size of the real "
        "images, with a warning, or refuse.",
    )
    model: Identifier | None = Field(
        default=None,
        description="Id of the classifier for `features: classifier`; by default your newest one.",
    )
    tumour_class: TumourClass | None = Field(
        default=None,
        alias="class",
        description="Compare images of this class only; by default the class of a synthetic set that has only one.",
        examples=["glioma"],
    )
    split: SplitChoice = Field(
        default="Training",
        description="Real images to compare with. The other split gives the real-vs-real floor, where both have 20 "
        "images or more and the classes in like shares; two halves of these images give it elsewhere.",
    )
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="Of every random draw; same seed, same report.")
    name: Name | None = Field(default=None, description="What to call the report.")

    @model_validator(mode="after")
    def _check_choices(self) -> Self:
        if self.metrics is not None and len(set(self.metrics)) != len(self.metrics):
            raise ValueError("metrics names a score twice")
        if self.model is not None and self.features != "classifier":
            raise ValueError("model is for features=classifier only")
        if self.mode == "study" and self.split != "Training":
            raise ValueError("mode=study compares with the Training images, as the study did")
        if self.mode == "study" and self.features == "radiomics":
            raise ValueError("mode=study needs class probabilities, which features=radiomics has not")
        return self


@router.post("/evaluate", status_code=202, tags=["evaluate"])
def evaluate(request: EvaluateRequest, who: Annotated[Caller, Depends(caller)]) -> Response:
    """Measure how far a synthetic image set is from a real one.

    Answers 202 with the job. When it has succeeded, it names an `evaluation` report: each score with its 95 % interval
    and its n, beside it the same score for real images against real ones (the floor), the feature space with the hash
    of its weights (radiomics: of library and settings), and warnings. Where the synthetic set holds several classes
    and none is asked for, `by_class` has the same scores for each. Features are kept: `cache` says how many were
    computed and how many were there from an earlier evaluation. `features: radiomics` without its library is refused
    with 409 `radiomics_not_installed`. `GET /reports/{id}` gives the report as json, csv, html and png.
    """
    return evaluation_jobs.start_evaluation(who, request.model_dump(mode="json", by_alias=True)).response()


@router.post("/audit", status_code=202, tags=["evaluate"])
def audit(request: AuditRequest, who: Annotated[Caller, Depends(caller)]) -> Response:
    """Find what is wrong with a synthetic image set: copies of real images, shortcuts, missing variety, little use.

    Answers 202 with the job. When it has succeeded, it names an `audit` report whose findings are sentences, worst
    first, with the numbers in them. Every number stands beside the same number for real images of the other split, the
    baseline. The report also has html, csv, and pictures: each class's nearest pairs, spectra, an embedding.
    """
    return audit_jobs.start_audit(who, request.model_dump(mode="json", by_alias=True)).response()


@router.post("/image-sets/{image_set}/exclude", status_code=202, tags=["evaluate"])
def exclude(image_set: Identifier, request: ExcludeRequest, who: Annotated[Caller, Depends(caller)]) -> Response:
    """Make a new image set without some images of this one: the copies that an audit report names, or those named.

    Answers 202 with the job. A set is never changed: the new one shares the images that stay, and says which were left
    out and why. A preprocessed set is refused; `POST /preprocess` with `exclude` makes it anew.
    """
    return exclude_jobs.start_exclusion(who, image_set, request.model_dump(mode="json")).response()


@router.get("/weights", tags=["weights"])
def list_weights() -> dict[str, Any]:
    """List the library weights the platform can use: which are installed, their hashes, how to install them."""
    return {"items": installation.list_library_weights(), "next_cursor": None}


@router.post("/weights/{name}", status_code=201, tags=["weights"])
def install_weights(
    name: str, file: Annotated[UploadFile | None, File(description="The file as its library publishes it.")] = None
) -> dict[str, Any]:
    """Install library weights from an uploaded file, or without one from the library's own source.

    The file is verified by its published hash and stored as safetensors; a wrong or truncated one is refused and
    nothing is stored. Installing again replaces what was there.
    """
    return installation.install_library_weights(name, _read_upload(file), file.filename if file else None)


def _read_upload(file: UploadFile | None) -> bytes | None:
    if file is None:
        return None
    limit = get_evaluator_settings().weights_max_bytes
    data = file.file.read(limit + 1)
    if len(data) > limit:
        raise TooLarge(f"A weights file may have at most {limit} bytes.", limit=limit)
    return data


app = create_service_app("evaluator", router)
