"""`/openapi.json`, and `/docs` with every asset served from here, so that it works without the internet."""

from importlib.resources import files
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import JSONResponse, Response

from gateway.openapi import MergedOpenApi
from gateway.resources import Resources, resources_of
from shared.errors import NotFound

router = APIRouter(include_in_schema=False)

# The wheel carries Swagger UI 5, which reads OpenAPI 3.1; only its files are used.
_ASSETS: Final = files("fastapi_offline") / "static"
_MEDIA: Final = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon.png": "image/png"}


class AssetNotFound(NotFound):
    """The documentation page has no such file."""


@router.get("/openapi.json")
async def openapi(request: Request, resources: Annotated[Resources, Depends(resources_of)]) -> JSONResponse:
    """The OpenAPI document of the whole platform."""
    state = request.app.state
    if not hasattr(state, "merged_openapi"):
        state.merged_openapi = MergedOpenApi(request.app)
    merged: MergedOpenApi = state.merged_openapi
    return JSONResponse(await merged.document(resources))


@router.get("/docs")
def docs_page() -> Response:
    """The documentation as a page on which every call can be tried."""
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="SynthMRI",
        swagger_js_url="/docs/swagger-ui-bundle.js",
        swagger_css_url="/docs/swagger-ui.css",
        swagger_favicon_url="/docs/favicon.png",
        swagger_ui_parameters={"persistAuthorization": True},
    )


@router.get("/docs/{name}")
def docs_asset(name: str) -> Response:
    """One file of the documentation page."""
    if name not in _MEDIA:
        raise AssetNotFound(f"The documentation page has no file {name[:60]!r}.")
    headers = {"Cache-Control": "public, max-age=86400"}
    return Response((_ASSETS / name).read_bytes(), media_type=_MEDIA[name], headers=headers)
