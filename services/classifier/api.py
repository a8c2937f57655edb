"""The classifier's HTTP routes: parse, call the service, answer."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Query, Response, UploadFile

from services.classifier import service, serving
from services.classifier.requests import ScenarioRequest, TrainRequest
from shared.app import caller, create_service_app
from shared.jobs.submission import Caller
from shared.texts import Identifier
from shared.uploads import read_image_file

router = APIRouter(tags=["classifier"])


@router.post("/models/classifier", status_code=202)
def train_classifier(body: TrainRequest, who: Annotated[Caller, Depends(caller)]) -> Response:
    """Train a tumour classifier on an image set, or on a mix of real and synthetic ones, and test it on real images.

    The job makes a classifier model and a classification report with the confusion matrix. Images of the Testing
    split are never trained on. A set whose Testing images occur in Training as well is refused (409 `known_leakage`)
    unless it, or `leakage_waiver`, says why that is accepted, or another set is tested on; report and manifest repeat
    the reason.
    """
    return service.start_training(who, body).response()


@router.post("/scenarios", status_code=202)
def run_scenario(body: ScenarioRequest, who: Annotated[Caller, Depends(caller)]) -> Response:
    """Find out whether synthetic images help: train on several mixes, test all on the same real images.

    One classifier is trained per composition and seed. The report compares every composition to the first one.
    Leakage between Training and Testing is refused as by `POST /models/classifier`.
    """
    return service.start_scenario(who, body).response()


@router.post("/classify")
def classify(
    who: Annotated[Caller, Depends(caller)],
    file: Annotated[
        UploadFile, File(description="One MRI slice: JPEG, PNG, TIFF, BMP, DICOM or a NIfTI file of one slice.")
    ],
    model: Annotated[Identifier | None, Query(description="Classifier to use; default: your newest one.")] = None,
    explain: Annotated[bool, Query(description="Add a heat map of what speaks for the class.")] = False,
) -> dict[str, Any]:
    """Say which tumour class one MRI slice shows, with the probability of each class.

    The slice is prepared exactly as the classifier's training images were. For research only: not a medical device.
    """
    return serving.classify(serving.warm_models(), who.owner, read_image_file(file), model, explain=explain)


app = create_service_app("classifier", router)
