"""A job's progress as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from gateway.auth import principal_of
from gateway.keys import Principal
from gateway.resources import Resources, resources_of
from shared.errors import Unavailable
from shared.jobs.states import FINAL

router = APIRouter(tags=["jobs"])

_POLL_S: Final = 0.5
_PING_S: Final = 15
_EVENTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Events `progress`, then one `done`; the data of each is the job.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


@router.get("/jobs/{job_id}/events", response_class=EventSourceResponse, responses=_EVENTS)
async def follow_job(
    job_id: str,
    principal: Annotated[Principal, Depends(principal_of)],
    resources: Annotated[Resources, Depends(resources_of)],
) -> EventSourceResponse:
    """Follow a job: an event `progress` at every change, one event `done` at the end, then the stream closes.

    A dropped connection loses nothing: each event carries the whole job, so connect again. A browser may hold only a
    few streams to one host; for a list of jobs, poll `GET /jobs` with its ETag.
    """
    first = await run_in_threadpool(resources.jobs.get, job_id, principal.sees)
    return EventSourceResponse(
        _changes(first, resources, principal),
        ping=_PING_S,
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _changes(job: dict[str, Any], resources: Resources, principal: Principal) -> AsyncIterator[ServerSentEvent]:
    said = None
    while True:
        final = job["status"] in FINAL
        if final or job != said:
            yield ServerSentEvent(json.dumps(job), event="done" if final else "progress")
            said = job
        if final:
            return
        await asyncio.sleep(_POLL_S)
        try:
            job = await run_in_threadpool(resources.jobs.get, job["id"], principal.sees)
        except Unavailable:  # the database restarts: keep the stream open and look again
            continue
