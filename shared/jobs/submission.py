"""Take a job in: commit its rows, then send its messages, then answer 202."""

from dataclasses import dataclass
from typing import Any

from fastapi.responses import JSONResponse

from shared.database import get_database
from shared.errors import QueueUnavailable
from shared.jobs.states import JobStatus
from shared.jobs.store import JobStore, NewJob
from shared.logs import get_log
from shared.queue import send

SEND_AT_ONCE = 200
"""How many messages a request sends itself; the sweeper sends the rest of a very large job."""

log = get_log(__name__)


@dataclass(frozen=True)
class Caller:
    """Who asks: the owner whose things are seen, the key for the log, and what makes a repeated request safe.

    Args:
        owner: the team; everything a job reads and makes belongs to it.
        request_hash: SHA-256 of method, path, query and body, which an Idempotency-Key is bound to.
    """

    owner: str
    key_id: str = ""
    request_id: str = ""
    idempotency_key: str | None = None
    request_hash: str = ""


@dataclass(frozen=True)
class Accepted:
    """A stored job and how to answer with it."""

    job: dict[str, Any]

    def response(self) -> JSONResponse:
        """202 with the job, and where to follow it."""
        return JSONResponse(self.job, status_code=202, headers={"Location": f"/jobs/{self.job['id']}"})


def submit(
    caller: Caller,
    kind: str,
    request: dict[str, Any],
    *,
    shards: list[dict[str, Any]] | None = None,
    total: int = 1,
    unit: str = "step",
) -> Accepted:
    """Store a job and send its messages; the same Idempotency-Key and request give the same job.

    Args:
        kind: a key of `shared.jobs.states.QUEUES`.
        request: everything the work must know, resolved (model ids, seed, sizes).
        shards: parts that workers may take in any order; None leaves all to the finishing step.
        total: units in the whole job, counted in `unit`.
    """
    new = NewJob(
        kind=kind,
        owner=caller.owner,
        request=request,
        request_id=caller.request_id,
        shards=shards or [],
        total=total,
        unit=unit,
        idempotency_key=caller.idempotency_key,
        request_hash=caller.request_hash,
    )
    store = JobStore(get_database())
    job_id, is_new = store.create(new)
    return _announce(store, job_id, kind, is_new)


def resubmit(caller: Caller, job_id: str, *, by_administrator: bool = False) -> Accepted:
    """Retry a failed or cancelled job as a new one that takes over what was finished.

    Args:
        by_administrator: the caller may retry every owner's jobs.
    """
    store = JobStore(get_database())
    stub = NewJob(
        kind="",
        owner=caller.owner,
        request={},
        request_id=caller.request_id,
        idempotency_key=caller.idempotency_key,
        request_hash=caller.request_hash,
    )
    new_id, is_new = store.retry(job_id, stub, by_administrator=by_administrator)
    return _announce(store, new_id, store.get(new_id, None)["kind"], is_new)


def _announce(store: JobStore, job_id: str, kind: str, is_new: bool) -> Accepted:
    """Send the messages of a new job; a broker that is down delays the job and does not lose it."""
    view = store.get(job_id, None)
    if is_new and view["status"] == JobStatus.QUEUED:
        log.info("job_accepted", job_id=job_id, kind=kind)
        try:
            for number in store.queued_shards(job_id)[:SEND_AT_ONCE]:
                send(kind, job_id, number)
        except QueueUnavailable:
            log.warning("message_delayed", job_id=job_id)
    return Accepted(view)
