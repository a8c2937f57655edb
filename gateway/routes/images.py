"""The images of a set: list, single, whole archive, contact sheet."""

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response, StreamingResponse

from gateway.archive import stream_archive
from gateway.auth import principal_of
from gateway.paging import Limit, Position, page_of
from gateway.rendering import contact_sheet, to_png
from gateway.resources import Resources, resources_of
from shared.artifacts.annotations import annotated_images
from shared.errors import ImageNotFound
from shared.tumour import Plane, Split, TumourClass

router = APIRouter(tags=["image sets"])

ClassFilter = Annotated[TumourClass | None, Query(alias="class", description="Images of this tumour class only.")]
SplitFilter = Annotated[Split | None, Query(description="Images of this split only.")]
PlaneFilter = Annotated[Plane | None, Query(description="Images of this imaging plane only.")]
_PNG: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}, "description": "A PNG."}
}
_ZIP: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}, "description": "A zip."}
}
# Images never change under their name, so a browser may keep them; `private` keeps shared caches out.
_FOREVER: Final = "private, max-age=31536000, immutable"


def images_of(
    image_set_id: str, request: Request, resources: Annotated[Resources, Depends(resources_of)]
) -> list[dict[str, Any]]:
    """FastAPI dependency: the images of the set in the path as it was made, if the caller may see it."""
    artifact = resources.artifacts.get(image_set_id, principal_of(request).sees, "image_set")
    images: list[dict[str, Any]] = resources.artifacts.manifest(artifact)["images"]
    return images


def corrected_images_of(
    image_set_id: str, request: Request, resources: Annotated[Resources, Depends(resources_of)]
) -> list[dict[str, Any]]:
    """FastAPI dependency: the images of the set in the path, with what people corrected."""
    artifact = resources.artifacts.get(image_set_id, principal_of(request).sees, "image_set")
    return annotated_images(resources.database, artifact, resources.artifacts.manifest(artifact)["images"])


def find_image(images: list[dict[str, Any]], image_set_id: str, name: str) -> dict[str, Any]:
    """The image of this name.

    Raises:
        ImageNotFound: there is none.
    """
    image = next((image for image in images if image["name"] == name), None)
    if image is None:
        raise ImageNotFound(f"There is no image {name[:120]!r} in {image_set_id}; list its images to see their names.")
    return image


Images = Annotated[list[dict[str, Any]], Depends(images_of)]
CorrectedImages = Annotated[list[dict[str, Any]], Depends(corrected_images_of)]


@router.get("/image-sets/{image_set_id}/images")
def list_images(
    images: CorrectedImages,
    tumour_class: ClassFilter = None,
    split: SplitFilter = None,
    plane: PlaneFilter = None,
    cursor: Position = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """The images of a set, in the order of the manifest. Keep the filters the same from page to page.

    A plane or group that somebody corrected is shown, and filtered by, instead of the set's own; such a plane has the
    `plane_source` `user`.
    """
    return page_of(images, cursor, limit, _filter(tumour_class, split, plane))


@router.get("/image-sets/{image_set_id}/images/{name:path}", response_class=Response, responses=_PNG)
def get_image(
    image_set_id: str,
    name: str,
    request: Request,
    images: Images,
    resources: Annotated[Resources, Depends(resources_of)],
    px: Annotated[int | None, Query(ge=8, le=2048, description="Longer side in pixels.", examples=[96])] = None,
) -> Response:
    """One image as an 8-bit PNG, at its own size or with its longer side at `px` pixels. 16-bit images are windowed."""
    image = find_image(images, image_set_id, name)
    etag = f'"{image["sha256"][:32]}-{px or 0}"'
    headers = {"ETag": etag, "Cache-Control": _FOREVER}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(to_png(resources.objects.get_blob(image["sha256"]), px), media_type="image/png", headers=headers)


@router.get("/image-sets/{image_set_id}/archive", response_class=StreamingResponse, responses=_ZIP)
def download_archive(
    image_set_id: str,
    images: CorrectedImages,
    resources: Annotated[Resources, Depends(resources_of)],
    tumour_class: ClassFilter = None,
    split: SplitFilter = None,
    plane: PlaneFilter = None,
) -> StreamingResponse:
    """All images as one zip of the original files, streamed."""
    wanted = list(filter(_filter(tumour_class, split, plane), images))
    if not wanted:
        raise ImageNotFound("No image of the set matches these filters.")
    headers = {"Content-Disposition": f'attachment; filename="{image_set_id}.zip"'}
    return StreamingResponse(stream_archive(resources.objects, wanted), media_type="application/zip", headers=headers)


@router.get("/image-sets/{image_set_id}/grid.png", response_class=Response, responses=_PNG)
def draw_grid(
    images: CorrectedImages,
    resources: Annotated[Resources, Depends(resources_of)],
    tumour_class: ClassFilter = None,
    split: SplitFilter = None,
    plane: PlaneFilter = None,
    n: Annotated[int, Query(ge=1, le=400, description="How many images.", examples=[25])] = 25,
    px: Annotated[int, Query(ge=16, le=512, description="Width of a cell in pixels.", examples=[96])] = 96,
) -> Response:
    """A contact sheet of up to `n` images, taken evenly from the whole set; always the same ones of the same images."""
    wanted = list(filter(_filter(tumour_class, split, plane), images))
    if not wanted:
        raise ImageNotFound("No image of the set matches these filters.")
    n = min(n, len(wanted))
    chosen = [wanted[index * len(wanted) // n] for index in range(n)]
    return Response(
        contact_sheet(chosen, lambda image: resources.objects.get_blob(image["sha256"]), px),
        media_type="image/png",
        # Somebody may correct a plane at any time.
        headers={"Cache-Control": "private, max-age=3600" if plane is None else "private, no-cache"},
    )


def _filter(
    tumour_class: TumourClass | None, split: Split | None, plane: Plane | None
) -> Callable[[dict[str, Any]], bool]:
    wanted = {key: value for key, value in (("class", tumour_class), ("split", split), ("plane", plane)) if value}
    return lambda image: all(image.get(key) == value for key, value in wanted.items())
