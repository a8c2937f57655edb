"""Reports: list, and one report as JSON, CSV, HTML or PNG."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Header, Query
from starlette.responses import JSONResponse, Response

from gateway.auth import principal_of
from gateway.files import PAGE_HEADERS, file_response
from gateway.keys import Principal
from gateway.paging import Cursor, Limit, listing
from gateway.report_formats import to_csv, to_html
from gateway.resources import Resources, resources_of
from shared.artifacts.store import Artifact
from shared.errors import NotFound, SynthMRIError

router = APIRouter(tags=["reports"])

ReportFormat = Literal["json", "csv", "html", "png"]
_MEDIA: Final[dict[str, ReportFormat]] = {
    "application/json": "json", "text/csv": "csv", "text/html": "html", "image/png": "png"
}  # fmt: skip
_CONTENT: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The report.", "content": {media: {} for media in _MEDIA}}
}


class ReportFormatUnavailable(SynthMRIError):
    """The report has no file of this format."""

    status = 406


class ReportFileNotFound(NotFound):
    """The report has no file of this name."""


@router.get("/reports")
def list_reports(
    principal: Annotated[Principal, Depends(principal_of)],
    resources: Annotated[Resources, Depends(resources_of)],
    kind: Annotated[
        str | None,
        Query(
            description="analysis, audit, calibration, classification, evaluation, regeneration or scenario.",
            examples=["evaluation"],
        ),
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> dict[str, Any]:
    """Your reports, newest first."""
    reports, following = resources.artifacts.list(principal.sees, "report", kind=kind, cursor=cursor, limit=limit)
    return listing([artifact.view() for artifact in reports], following)


@router.get("/reports/{report_id}", response_class=Response, responses=_CONTENT)
def get_report(
    report_id: str,
    principal: Annotated[Principal, Depends(principal_of)],
    resources: Annotated[Resources, Depends(resources_of)],
    wanted: Annotated[
        ReportFormat | None, Query(alias="format", description="Wins over the Accept header.", examples=["csv"])
    ] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """One report, as `?format=` or the Accept header says: json (with links to its files), csv, html or png."""
    artifact = resources.artifacts.get(report_id, principal.sees, "report")
    manifest = resources.artifacts.manifest(artifact)
    report_format = wanted or _accepted(accept)
    links = {name: f"/reports/{artifact.id}/files/{name}" for name in manifest.get("objects", {})}
    if report_format == "json":
        return JSONResponse(
            {**artifact.view(), "report": manifest["report"], "files": links, "manifest": _rest(manifest)}
        )
    name = _file_of(manifest, report_format)
    if name is not None:
        return _file(resources, manifest, name)
    if report_format == "csv":
        return Response(to_csv(manifest["report"]), media_type="text/csv")
    if report_format == "html":
        page = to_html(f"{artifact.kind} {artifact.name}", manifest["report"], list(links.values()))
        return Response(page, media_type="text/html", headers=PAGE_HEADERS)
    raise ReportFormatUnavailable(
        "This report has no picture; ask for json, csv or html.", valid=["json", "csv", "html"]
    )


@router.get("/reports/{report_id}/files/{name}", response_class=Response)
def get_report_file(
    report_id: str,
    name: str,
    principal: Annotated[Principal, Depends(principal_of)],
    resources: Annotated[Resources, Depends(resources_of)],
) -> Response:
    """One file of a report, for example a chart."""
    artifact: Artifact = resources.artifacts.get(report_id, principal.sees, "report")
    return _file(resources, resources.artifacts.manifest(artifact), name)


def _file(resources: Resources, manifest: dict[str, Any], name: str) -> Response:
    files = manifest.get("objects", {})
    if name not in files:
        raise ReportFileNotFound(f"This report has no file {name[:80]!r}; it has {', '.join(sorted(files)) or 'none'}.")
    return file_response(resources.objects, name, files[name])


def _file_of(manifest: dict[str, Any], report_format: str) -> str | None:
    """The first file with this ending; a file called `report.*` or `table.*` comes before others."""
    names = [name for name in manifest.get("objects", {}) if name.endswith(f".{report_format}")]
    return min(names, key=lambda name: (not name.startswith(("report.", "table.", "chart.")), name), default=None)


def _rest(manifest: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in manifest.items() if key not in ("report", "objects")}


def _accepted(accept: str) -> ReportFormat:
    """The first format that the Accept header names; JSON when it names none."""
    for part in accept.split(","):
        media = part.partition(";")[0].strip().lower()
        if media in _MEDIA:
            return _MEDIA[media]
    return "json"
