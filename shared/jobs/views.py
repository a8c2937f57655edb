"""The job as the API shows it."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.artifacts.store import URLS
from shared.database import now_s
from shared.jobs.files import files_of_job
from shared.jobs.pace import remaining_s, units_per_s
from shared.jobs.states import QUEUES, JobStatus
from shared.jobs.tables import JobRow, ShardRow
from shared.jobs.turns import count_turns_before


def job_view(session: Session, job: JobRow) -> dict[str, Any]:
    """The job with its files, which lists leave out."""
    return {**job_summary(session, job), "files": [file.view(job.id) for file in files_of_job(session, job.id)]}


def job_summary(session: Session, job: JobRow) -> dict[str, Any]:
    """The public members of a job; progress counts `unit`s, `rate` is units per second, `eta_s` seconds.

    `queue_position` counts the jobs whose turn comes first: 0 is next. Jobs take turns part by part, so a job that was
    served already stands behind a newer one that was not.
    """
    shards = list(session.scalars(select(ShardRow).where(ShardRow.job_id == job.id).order_by(ShardRow.number)))
    done, total = _progress(job, shards)
    rate, eta_s = _forecast(session, job, done, total)
    return {
        "id": job.id,
        "kind": job.kind,
        "status": job.status,
        "progress": {"done": done, "total": total, "unit": job.unit},
        "rate": rate,
        "eta_s": eta_s,
        "queue_position": _queue_position(session, job),
        "notes": {key: value for shard in shards for key, value in shard.notes.items()},
        "artifacts": [{**item, "url": URLS[item["noun"]] + item["id"]} for item in job.artifacts],
        "error": {"code": job.error_code, "detail": job.error_detail} if job.error_code else None,
        "attempt": max((shard.attempt for shard in shards), default=0),
        "request": job.request,
        "request_id": job.request_id,
        "retry_of": job.retry_of,
        "created_at": _iso(job.created_at),
        "started_at": _iso(job.started_at),
        "finished_at": _iso(job.finished_at),
        "url": f"/jobs/{job.id}",
    }


def _progress(job: JobRow, shards: list[ShardRow]) -> tuple[int, int]:
    """Units done and in all: of the parts if there are any, else of the one step."""
    parts = [shard for shard in shards if not shard.finishes]
    if parts:
        return min(sum(shard.done for shard in parts), job.total), job.total
    step = shards[0]
    total = step.total or job.total
    return (total if job.status == JobStatus.SUCCEEDED else min(step.done, total)), total


def _forecast(session: Session, job: JobRow, done: int, total: int) -> tuple[float | None, float | None]:
    """Units per second and, of a running job, the seconds it still needs; by its age until it has a pace."""
    fresh = done - job.done_before
    if job.started_at is None or fresh <= 0:
        return None, None
    now = float(session.scalar(select(now_s())) or 0.0)
    elapsed_s = (now if job.finished_at is None else job.finished_at) - job.started_at
    average = fresh / elapsed_s if elapsed_s > 0 else None
    if job.status != JobStatus.RUNNING:
        return _rounded(average, 4), None
    rate, left_s = units_per_s(job.pace), remaining_s(job.pace, total, now)
    if rate is None or left_s is None:
        return _rounded(average, 4), _rounded((total - done) / average if average else None, 1)
    return _rounded(rate, 4), _rounded(left_s, 1)


def _rounded(value: float | None, digits: int) -> float | None:
    return round(value, digits) if value is not None else None


def _queue_position(session: Session, job: JobRow) -> int | None:
    """How many jobs of the same queue have their turn before this one; None once the job runs or has ended."""
    if job.status != JobStatus.QUEUED:
        return None
    kinds = [kind for kind, queue in QUEUES.items() if queue == QUEUES[job.kind]]
    return count_turns_before(session, job, kinds)


def _iso(seconds: float | None) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds") if seconds is not None else None
