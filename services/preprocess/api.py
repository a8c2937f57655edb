"""The private HTTP edge of the preprocess service: `POST /preprocess` and `POST /plane`."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from services.preprocess import service
from services.preprocess.recipe import Recipe, RecipeName
from shared.app import caller, create_service_app
from shared.jobs.submission import Caller
from shared.texts import Identifier, ImageName, Name
from shared.tumour import TumourClass
from shared.uploads import read_image_file

router = APIRouter()


class SelectedImage(BaseModel):
    """One image of a given selection, and what is to be done to it besides the recipe's fixed steps."""

    model_config = ConfigDict(extra="forbid")

    image: ImageName = Field(description="Its name in the set, or its file name without ending if that is unique.")
    rotation_deg: int = Field(default=0, ge=-180, le=180, description="Angle, degrees, counter-clockwise.")
    flip_horizontal: bool = Field(default=False, description="Whether left and right change places.")
    flip_vertical: bool = Field(default=False, description="Whether top and bottom change places.")


class PreprocessRequest(BaseModel):
    """Which images to prepare, and how."""

    model_config = ConfigDict(extra="forbid")

    image_set: Identifier = Field(description="Id of a raw image set.", examples=["set-5f0c2a9be1d24c7d90aa"])
    recipe: RecipeName | Recipe | None = Field(
        default=None,
        description="`rigorous` (the default: pads to square, sets aside copies within and across splits), `study` "
        "(replays the published study), or an object with choices of your own.",
        examples=["rigorous", {"duplicates": "within_split", "size_rule": "pad_square", "clahe": None, "size_px": 128}],
    )
    selection: list[SelectedImage] | None = Field(
        default=None,
        min_length=1,
        max_length=200_000,
        description="Exactly these images in this order, instead of what the recipe would select and draw.",
        examples=[[{"image": "Tr-gl_1232", "rotation_deg": -9}]],
    )
    replay: Identifier | None = Field(
        default=None, description="Id of a preprocessed set whose recipe, images and draws are to be repeated exactly."
    )
    exclude: list[ImageName] = Field(default=[], max_length=200_000, description="Images to leave out.")
    relabel: dict[ImageName, TumourClass] = Field(
        default={}, description="The right class of images whose folder names a wrong one.", examples=[{"a": "glioma"}]
    )
    name: Name | None = Field(default=None, description="What to call the result.")
    max_unreadable_share: float = Field(
        default=0.1, ge=0, le=1, description="The job fails if a larger share of the files cannot be read."
    )


@router.post("/preprocess", status_code=202, tags=["preprocess"])
def preprocess(request: PreprocessRequest, who: Annotated[Caller, Depends(caller)]) -> Response:
    """Turn a raw image set into square gray images of one size, with a report on the data.

    Answers 202 with the job. When it has succeeded, it names two artifacts: the `preprocessed` image set and an
    `analysis` report: counts by class and plane, sizes, colour, blur, copies within and across splits, and each dropped
    image with its reason.

    Planes and patient groups come from `PUT /image-sets/{id}/annotations` of the raw set; where nobody named a patient,
    slices of one NIfTI volume or DICOM series are of one; planes that nobody named are found by clustering. Equal
    images with different classes stop the job (`label_conflict`) until `relabel`, `exclude` or the recipe's
    `label_conflicts` settles them. Skull stripping is not offered: its methods need whole volumes of
    raw scanner values, and on a single 8-bit slice they cut into tumours and leave skull behind.
    """
    return service.start_preprocessing(who, request.model_dump(mode="json")).response()


@router.post("/plane", tags=["preprocess"])
def plane(
    who: Annotated[Caller, Depends(caller)],  # noqa: ARG001 only callers with a key are answered
    file: Annotated[
        UploadFile, File(description="One MRI slice: JPEG, PNG, TIFF, BMP, DICOM or a NIfTI file of one slice.")
    ],
) -> dict[str, Any]:
    """Say in which imaging plane one MRI slice lies, as the planes of a set are found where nobody named any.

    `confidence`, 0..1, is the estimated probability that the plane is right. The image is not stored.
    """
    return service.predict_plane_of(read_image_file(file))


app = create_service_app("preprocess", router)
