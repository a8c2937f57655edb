"""Image sets: upload, list, get."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from gateway.auth import principal_of
from gateway.keys import Principal
from gateway.paging import Cursor, Limit, listing
from gateway.resources import IdempotencyKey, Resources, resources_of
from gateway.upload.body import read_body
from gateway.upload.intake import Wish
from gateway.upload.spool import spool_folder
from shared.scans.nifti import Axis, SliceChoice
from shared.texts import Name
from shared.tumour import TumourClass

router = APIRouter(tags=["image sets"])

_UPLOAD_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": "One zip, or one part per image whose filename is its path.",
                        }
                    },
                }
            },
            "application/zip": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@router.post("/image-sets", status_code=201, openapi_extra=_UPLOAD_BODY)
async def upload_image_set(
    request: Request,
    principal: Annotated[Principal, Depends(principal_of)],
    resources: Annotated[Resources, Depends(resources_of)],
    name: Annotated[Name, Query(description="A name for people.", examples=["brain tumour MRI"])] = "upload",
    skip_invalid: Annotated[
        bool, Query(description="Keep the good images and list the bad ones instead of refusing the upload.")
    ] = False,
    axis: Annotated[Axis, Query(description="Plane of the slices that NIfTI volumes become.")] = "axial",
    slices: Annotated[
        str,
        Query(
            description="Slices of NIfTI volumes: `middle`, `all`, or an index, counted from 0 at the patient's left, "
            "back or feet.",
            pattern=r"^(middle|all|[0-9]{1,5})$",
        ),
    ] = "middle",
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Upload images as a new `raw` image set.

    Send `multipart/form-data` with one part `file` per image, its filename being `<split>/<class>/<file>` or
    `<class>/<file>`, or one zip of such files. Splits are Training and Testing; classes are glioma, meningioma, notumor
    and pituitary. Every image is decoded once. One bad file refuses the whole upload and nothing is stored, unless
    `skip_invalid=true`.

    Formats, known by content and never by name: JPEG, PNG, TIFF and BMP, kept as they come; DICOM (one slice a file)
    and NIfTI (`.nii`, `.nii.gz`), turned into 8-bit gray PNG at once. Of a DICOM or NIfTI file only the pixels and a
    short list of technical tags are kept; the keywords of what was dropped stand with each image. What cannot be seen
    here is a name in a file name or in the pixels: `warnings` tells of files that say they have text in their pixels.
    NIfTI slices are shown in radiological convention: the patient's right on the left, the front or the head up.
    """
    with spool_folder(resources.settings.data_dir) as folder:
        spool, files = await read_body(request, folder, resources.settings)
        wish = Wish(name, skip_invalid, idempotency_key, SliceChoice(axis, slices))
        artifact = await run_in_threadpool(resources.intake.take, spool, files, wish, principal)
    view = artifact.view()
    return JSONResponse(view, status_code=201, headers={"Location": view["url"]})


@router.get("/image-sets")
def list_image_sets(
    principal: Annotated[Principal, Depends(principal_of)],
    resources: Annotated[Resources, Depends(resources_of)],
    kind: Annotated[str | None, Query(description="raw, preprocessed or synthetic.", examples=["synthetic"])] = None,
    tumour_class: Annotated[TumourClass | None, Query(alias="class", description="Sets of one class only.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> dict[str, Any]:
    """Your image sets, newest first."""
    sets, following = resources.artifacts.list(
        principal.sees, "image_set", kind=kind, tumour_class=tumour_class, cursor=cursor, limit=limit
    )
    return listing([artifact.view() for artifact in sets], following)


@router.get("/image-sets/{image_set_id}")
def get_image_set(
    image_set_id: str,
    principal: Annotated[Principal, Depends(principal_of)],
    resources: Annotated[Resources, Depends(resources_of)],
) -> dict[str, Any]:
    """One image set with its manifest, but for the images, which have a list of their own."""
    artifact = resources.artifacts.get(image_set_id, principal.sees, "image_set")
    manifest = resources.artifacts.manifest(artifact)
    return {**artifact.view(), "manifest": {key: value for key, value in manifest.items() if key != "images"}}
