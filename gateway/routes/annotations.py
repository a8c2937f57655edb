"""Annotations: what people correct about the images of a set, one at a time or many at once."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool

from gateway.auth import principal_of
from gateway.corrections import Correction, Corrections, NamedCorrection, corrections_by_name, read_csv, read_json
from gateway.keys import Principal
from gateway.paging import Limit, Position, listing
from gateway.resources import Resources, resources_of
from gateway.routes.images import find_image
from gateway.upload.body import batches
from shared.artifacts.annotations import annotated_images, correct_images, list_annotations
from shared.artifacts.tables import ImageAnnotationRow
from shared.errors import UnsupportedType

router = APIRouter(tags=["image sets"])

_ONE_BYTES: Final = 1024 * 1024
_MANY_BYTES: Final = 16 * 1024 * 1024
_ONE_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": Correction.model_json_schema(), "example": {"plane": "axial", "group": "p1"}}
        },
    }
}
_MANY_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["items"],
                    "properties": {"items": {"type": "array", "items": NamedCorrection.model_json_schema()}},
                },
                "example": {"items": [{"name": "Training/glioma/Tr-gl_0010.jpg", "plane": "axial"}]},
            },
            "text/csv": {"schema": {"type": "string"}, "example": "name,plane,group\nTraining/glioma/1.jpg,axial,p1\n"},
        },
    }
}


class CorrectionsNotReadable(UnsupportedType):
    """Corrections are neither JSON nor CSV."""


@router.put("/image-sets/{image_set_id}/images/{name:path}", openapi_extra=_ONE_BODY)
async def correct_image(
    image_set_id: str,
    name: str,
    request: Request,
    principal: Annotated[Principal, Depends(principal_of)],
    resources: Annotated[Resources, Depends(resources_of)],
) -> dict[str, Any]:
    """Correct the plane or the patient group of one image; answers with the image as the list now shows it.

    A member left out stays as it was; null takes an earlier correction back, so that the set's own value shows again.
    Image sets never change: corrections are kept beside them. Those of a raw set are used by its next preprocessing,
    those of a preprocessed set by the work that starts from it: a training goes by those there were when it was asked
    for.
    """
    correction = read_json(Correction, await _read_body(request, _ONE_BYTES))

    def correct() -> dict[str, Any]:
        artifact = resources.artifacts.get(image_set_id, principal.sees, "image_set")
        images = resources.artifacts.manifest(artifact)["images"]
        find_image(images, image_set_id, name)
        correct_images(resources.database, artifact, {name: correction.changes()}, by=principal.key_id)
        return find_image(annotated_images(resources.database, artifact, images), image_set_id, name)

    return await run_in_threadpool(correct)


@router.put("/image-sets/{image_set_id}/annotations", openapi_extra=_MANY_BODY)
async def correct_many_images(
    image_set_id: str,
    request: Request,
    principal: Annotated[Principal, Depends(principal_of)],
    resources: Annotated[Resources, Depends(resources_of)],
) -> dict[str, int]:
    """Correct many images at once, all of them or none; answers `{"n_changed": ...}`.

    Send JSON, or CSV in UTF-8 whose header has `name` and `plane`, `group` or both. `image_id`, the file without its
    folders and suffix, may stand for `name`; a column `class` is ignored, and an empty cell changes nothing. Images
    that are not mentioned keep their corrections. At most 16 MiB and 100,000 images.
    """
    data = await _read_body(request, _MANY_BYTES)
    is_csv = _is_csv(request)

    def correct() -> dict[str, int]:
        artifact = resources.artifacts.get(image_set_id, principal.sees, "image_set")
        names = [image["name"] for image in resources.artifacts.manifest(artifact)["images"]]
        items = read_csv(data, names) if is_csv else read_json(Corrections, data).items
        changes = corrections_by_name(items, names)
        return {"n_changed": correct_images(resources.database, artifact, changes, by=principal.key_id)}

    return await run_in_threadpool(correct)


@router.get("/image-sets/{image_set_id}/annotations")
def list_corrections(
    image_set_id: str,
    principal: Annotated[Principal, Depends(principal_of)],
    resources: Annotated[Resources, Depends(resources_of)],
    cursor: Position = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """What people corrected in a set, by image name; `by` is the id of the API key."""
    artifact = resources.artifacts.get(image_set_id, principal.sees, "image_set")
    rows, following = list_annotations(resources.database, artifact, cursor=cursor, limit=limit)
    return listing([_view(row) for row in rows], following)


def _view(row: ImageAnnotationRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "plane": row.plane,
        "group": row.patient_group,
        "by": row.key_id,
        "updated_at": datetime.fromtimestamp(row.updated_at, UTC).isoformat(),
    }


async def _read_body(request: Request, max_bytes: int) -> bytes:
    return b"".join([batch async for batch in batches(request, max_bytes)])


def _is_csv(request: Request) -> bool:
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type not in ("application/json", "text/csv"):
        raise CorrectionsNotReadable("Send the corrections as application/json or as text/csv.")
    return media_type == "text/csv"
