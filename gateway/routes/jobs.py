"""Jobs: list, get, files, cancel, retry."""

import hashlib
import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import JSONResponse, Response

from gateway.auth import principal_of
from gateway.files import file_response
from gateway.keys import Principal
from gateway.paging import Cursor, Limit, listing
from gateway.resources import IdempotencyKey, Resources, resources_of
from shared.app import request_digest
from shared.jobs.idempotency import KeyedRequest
from shared.jobs.states import JobStatus
from shared.jobs.submission import Caller, resubmit

router = APIRouter(tags=["jobs"])


@router.get("/jobs")
def list_jobs(
    request: Request,
    principal: Annotated[Principal, Depends(principal_of)],
    resources: Annotated[Resources, Depends(resources_of)],
    status: Annotated[JobStatus | None, Query(description="Jobs of this status only.")] = None,
    kind: Annotated[str | None, Query(description="Jobs of this kind only.", examples=["diffusion.sample"])] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Your jobs, newest first, without their files. Poll with the ETag in `If-None-Match`: 304 means no change."""
    jobs, following = resources.jobs.list(principal.sees, cursor=cursor, limit=limit, status=status, kind=kind)
    return _tagged(request, listing(jobs, following))


@router.get("/jobs/{job_id}")
def get_job(
    job_id: str,
    request: Request,
    principal: Annotated[Principal, Depends(principal_of)],
    resources: Annotated[Resources, Depends(resources_of)],
) -> Response:
    """One job: status, progress, rate, expected end, the files it shows while it runs, artifacts, error.

    Of a queued job `queue_position` says how many jobs of its queue have their turn before it: 0 is next. Jobs take
    turns part by part, so the number may grow when a job has been served once and goes to the end of the round.
    """
    return _tagged(request, resources.jobs.get(job_id, principal.sees))


@router.get("/jobs/{job_id}/files/{name}", response_class=Response)
def get_job_file(
    job_id: str,
    name: str,
    request: Request,
    principal: Annotated[Principal, Depends(principal_of)],
    resources: Annotated[Resources, Depends(resources_of)],
) -> Response:
    """One file that the job's work shows, for example a sheet of samples of a training, while it runs and afterwards.

    `files` of the job lists them. A file may be replaced while the job runs: poll with the ETag in `If-None-Match`.
    """
    file = resources.jobs.file(job_id, name, principal.sees)
    headers = {"ETag": f'"{file.sha256[:32]}"', "Cache-Control": "private, no-cache"}
    if _knows(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return file_response(resources.objects, file.name, file.sha256, headers)


@router.post("/jobs/{job_id}/cancel")
def cancel_job(
    job_id: str,
    request: Request,
    principal: Annotated[Principal, Depends(principal_of)],
    resources: Annotated[Resources, Depends(resources_of)],
    idempotency_key: IdempotencyKey = None,
) -> dict[str, Any]:
    """Cancel a queued or running job; the worker stops within a step. A finished job answers 409."""
    keyed = KeyedRequest(principal.owner, idempotency_key, request_digest(request, b"")) if idempotency_key else None
    return resources.jobs.cancel(job_id, principal.sees, keyed)


@router.post("/jobs/{job_id}/retry", status_code=202)
def retry_job(
    job_id: str,
    request: Request,
    principal: Annotated[Principal, Depends(principal_of)],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Start a failed or cancelled job again as a new job, which takes over what was finished."""
    caller = Caller(
        owner=principal.owner,
        key_id=principal.key_id,
        request_id=request.state.request_id,
        idempotency_key=idempotency_key or None,
        request_hash=request_digest(request, b""),
    )
    return resubmit(caller, job_id, by_administrator=principal.sees is None).response()


def _tagged(request: Request, body: dict[str, Any]) -> Response:
    """`body`, or 304 if the client's ETag says that it has it."""
    etag = f'"{hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if _knows(request, etag):
        return Response(status_code=304, headers=headers)
    return JSONResponse(body, headers=headers)


def _knows(request: Request, etag: str) -> bool:
    """Whether the client says that it has what this ETag names."""
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return etag in known
