"""The private HTTP edge of the preprocess service: `POST /preprocess`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from services.preprocess import service
from services.preprocess.recipe import Recipe, RecipeName
from shared.app import caller, create_service_app
from shared.jobs.submission import Caller
from shared.texts import Identifier, Name

router = APIRouter()


class PreprocessRequest(BaseModel):
    """Which images to prepare, and how."""

    model_config = ConfigDict(extra="forbid")

    image_set: Identifier = Field(description="Id of a raw image set.", examples=["set-5f0c2a9be1d24c7d90aa"])
    recipe: RecipeName | Recipe = Field(
        default="rigorous",
        description="`rigorous` (pads to square, drops exact duplicates within and across splits), "
        "`study` (replays the published study), or an object with choices of your own.",
        examples=["rigorous", {"duplicates": "within_split", "size_rule": "pad_square", "clahe": None, "size_px": 128}],
    )
    name: Name | None = Field(default=None, description="What to call the result.")
    max_unreadable_share: float = Field(
        default=0.1, ge=0, le=1, description="The job fails if a larger share of the files cannot be read."
    )


@router.post("/preprocess", status_code=202, tags=["preprocess"])
def preprocess(request: PreprocessRequest, who: Annotated[Caller, Depends(caller)]) -> Response:
    """Turn a raw image set into square gray images of one size, with a report on the data.

    Answers 202 with the job. When it has succeeded, it names two artifacts: the `preprocessed` image set and an
    `analysis` report: counts by class, sizes, colour, blur, duplicates within and across splits, and each dropped image
    with its reason.
    """
    return service.start_preprocessing(who, request.model_dump()).response()


app = create_service_app("preprocess", router)
