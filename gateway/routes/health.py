"""Health: whether the process lives, what is down, and figures for Prometheus."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

import httpx
from fastapi import APIRouter, Depends
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from sqlalchemy import func, select
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from gateway.resources import Resources, resources_of
from shared.errors import SynthMRIError
from shared.jobs.states import QUEUES, JobStatus
from shared.jobs.sweeper import HEARTBEAT_KEY
from shared.jobs.tables import JobRow
from shared.queue import get_redis, queue_length

router = APIRouter(tags=["health"])

_PATIENCE_S: Final = 3.0
Check = Callable[[], Awaitable[str | None]]


@router.get("/livez")
async def livez() -> dict[str, str]:
    """Whether this process answers; it asks nobody else."""
    return {"status": "alive"}


@router.get("/readyz")
async def readyz(resources: Annotated[Resources, Depends(resources_of)]) -> Response:
    """Whether the whole platform is ready; 503 names what is down under `down`, with a reason for each."""
    checks: dict[str, Check] = {
        "database": _call(resources.database.ping),
        "object store": _call(resources.objects.ping),
        "redis": _call(_ping_redis),
        "sweeper": _call(_see_sweeper),
        **{name: _ask(resources, url) for name, url in resources.service_urls().items()},
    }
    answers = await asyncio.gather(*(_answer(check) for check in checks.values()))
    down = {name: reason for name, reason in zip(checks, answers, strict=True) if reason is not None}
    body: dict[str, Any] = {"status": "down" if down else "ready", "down": down, "checked": list(checks)}
    return JSONResponse(body, status_code=503 if down else 200, headers={"Cache-Control": "no-store"})


@router.get("/metrics", response_class=Response)
def metrics(resources: Annotated[Resources, Depends(resources_of)]) -> Response:
    """Jobs by kind and status, and messages waiting in each queue, in Prometheus' text format."""
    registry = CollectorRegistry()
    jobs = Gauge("synthmri_jobs", "Jobs by kind and status.", ["kind", "status"], registry=registry)
    oldest = Gauge(
        "synthmri_oldest_queued_job_created_at", "When the oldest queued job was made, s.", registry=registry
    )
    queues = Gauge("synthmri_queue_messages", "Messages waiting in a queue.", ["queue"], registry=registry)
    with resources.database.reading() as session:
        counts = session.execute(select(JobRow.kind, JobRow.status, func.count()).group_by(JobRow.kind, JobRow.status))
        for kind, status, count in counts:
            jobs.labels(kind, status).set(count)
        first = session.scalar(select(func.min(JobRow.created_at)).where(JobRow.status == JobStatus.QUEUED))
        oldest.set(first or 0.0)
    for queue in sorted(set(QUEUES.values())):
        queues.labels(queue).set(queue_length(queue))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)


async def _answer(check: Check) -> str | None:
    """None if all is well, else the reason, within `_PATIENCE_S`."""
    try:
        return await asyncio.wait_for(check(), _PATIENCE_S)
    except TimeoutError:
        return f"does not answer within {_PATIENCE_S:.0f} s"
    except SynthMRIError as error:
        return error.detail
    except Exception as error:  # noqa: BLE001 whatever a driver raises, it means that the thing is down
        return type(error).__name__


def _call(ping: Callable[[], str | None]) -> Check:
    async def check() -> str | None:
        return await run_in_threadpool(ping)

    return check


def _ping_redis() -> None:
    get_redis().ping()


def _see_sweeper() -> str | None:
    return (
        None if get_redis().exists(HEARTBEAT_KEY) else "has not swept for 30 s; jobs of dead workers are not recovered"
    )


def _ask(resources: Resources, url: str) -> Check:
    async def check() -> str | None:
        try:
            answer = await resources.services.get(f"{url}/livez", timeout=_PATIENCE_S)
        except httpx.HTTPError:
            return "does not answer"
        return None if answer.is_success else f"answers {answer.status_code}"

    return check
