"""What workers and the sweeper do to shards. Each change is conditional and says whether it was made.

Every function first touches the job's row and then the shard's, so that two of them never wait for each other, and
every write carries the claim's token: a worker whose claim was lost changes nothing any more.
"""

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, case, exists, func, select, update
from sqlalchemy.orm import Session

from shared.artifacts.tables import ArtifactRow
from shared.database import Database, now_s, rows_changed
from shared.jobs.files import JobFile, record_file
from shared.jobs.pace import mark_pace
from shared.jobs.states import OPEN, JobStatus, ShardStatus
from shared.jobs.tables import JobRow, ShardRow
from shared.jobs.turns import give_turn_back


@dataclass(frozen=True)
class Claim:
    """The right to work on one shard until the lease runs out; `token` fences off everybody else."""

    job_id: str
    number: int
    token: str
    kind: str
    owner: str
    request: dict[str, Any]
    request_id: str
    spec: dict[str, Any]
    finishes: bool
    stage: int
    attempt: int
    resume_sha256: str | None


class Claims:
    """Claims on the shards of one database.

    Args:
        lease_s: how long a claim lasts without a heartbeat, seconds.
    """

    def __init__(self, database: Database, lease_s: float) -> None:
        self._database = database
        self._lease_s = lease_s

    def claim(self, job_id: str, number: int) -> Claim | None:
        """Take a queued shard of an open job; None if another has it, it is done, or the job is finished."""
        token = uuid.uuid4().hex
        with self._database.writing() as session:
            job_open = update(JobRow).where(JobRow.id == job_id, JobRow.status.in_(OPEN))
            if not rows_changed(session, job_open.values(status=JobRow.status)):
                return None
            taken = update(ShardRow).where(
                ShardRow.job_id == job_id, ShardRow.number == number, ShardRow.status == ShardStatus.QUEUED
            )
            values = {
                "status": ShardStatus.RUNNING,
                "token": token,
                "attempt": ShardRow.attempt + 1,
                "lease_until": now_s() + self._lease_s,
                "done": 0,
            }
            if not rows_changed(session, taken.values(**values)):
                return None
            # Whatever kept the job from running is no part of its pace.
            stood_still = update(JobRow).where(JobRow.id == job_id, JobRow.status == JobStatus.QUEUED)
            session.execute(stood_still.values(pace=[]))
            started_at = func.coalesce(JobRow.started_at, now_s())
            started = {"status": JobStatus.RUNNING, "started_at": started_at, "served_at": now_s()}
            session.execute(update(JobRow).where(JobRow.id == job_id).values(**started))
            job = session.get_one(JobRow, job_id)
            shard = session.get_one(ShardRow, (job_id, number))
            return Claim(
                job_id=job_id,
                number=number,
                token=token,
                kind=job.kind,
                owner=job.owner,
                request=job.request,
                request_id=job.request_id,
                spec=shard.spec,
                finishes=shard.finishes,
                stage=shard.stage,
                attempt=shard.attempt,
                resume_sha256=shard.resume_sha256,
            )

    def beat(self, claim: Claim, done: int, total: int, notes: dict[str, Any], age_s: float = 0.0) -> bool:
        """Renew the lease and record progress; False if the claim is no longer ours or the job is finished.

        Args:
            age_s: how long ago `done` reached its value, seconds.
        """
        job_open = update(JobRow).where(JobRow.id == claim.job_id, JobRow.status.in_(OPEN))
        values = {"lease_until": now_s() + self._lease_s, "done": done, "total": total, "notes": notes}
        with self._database.writing() as session:
            if not rows_changed(session, job_open.values(status=JobRow.status)):
                return False
            if not rows_changed(session, update(ShardRow).where(_holds(claim)).values(**values)):
                return False
            mark_pace(session, claim.job_id, age_s)
            return True

    def standing(self, claim: Claim) -> JobStatus | None:
        """The job's status as long as the claim is ours; None once it is not."""
        query = select(JobRow.status).join(ShardRow, ShardRow.job_id == JobRow.id).where(_holds(claim))
        with self._database.reading() as session:
            status = session.scalar(query)
        return JobStatus(status) if status is not None else None

    def delays(self, claim: Claim) -> int:
        """How often the shard has waited for something that was down since its last lasting progress."""
        with self._database.reading() as session:
            return session.scalar(select(ShardRow.delays).where(_holds(claim))) or 0

    def save_resume(self, claim: Claim, sha256: str) -> JobStatus | None:
        """Point the shard at a new resume bundle; lasting progress, so attempts and delays are counted anew.

        Returns:
            The job's status at that moment, or None if the claim is lost. As long as the job was open, nobody outside
            it can have taken an earlier bundle: a retry and a keep read the row only once the job has ended.
        """
        with self._database.writing() as session:
            session.execute(update(JobRow).where(JobRow.id == claim.job_id).values(status=JobRow.status))
            changed = update(ShardRow).where(_holds(claim)).values(resume_sha256=sha256, attempt=0, delays=0)
            if not rows_changed(session, changed):
                return None
            return JobStatus(session.scalars(select(JobRow.status).where(JobRow.id == claim.job_id)).one())

    def publish(self, claim: Claim, file: JobFile) -> bool:
        """Add a file to the claim's job, or replace the one of the same name; False if the claim is lost."""
        with self._database.writing() as session:
            session.execute(update(JobRow).where(JobRow.id == claim.job_id).values(status=JobRow.status))
            # Looked at with the job's row locked: see `_give_up`.
            if not rows_changed(session, update(ShardRow).where(_holds(claim)).values(token=claim.token)):
                return False
            record_file(session, claim.job_id, file)
            return True

    def finish_shard(self, claim: Claim, result: dict[str, Any]) -> list[int]:
        """Store a shard's result. Returns the shards that may now be done: those of the next stage, after its last one.

        A result of a lost claim or of a cancelled job is dropped.
        """
        with self._database.writing() as session:
            if not rows_changed(session, _running(claim).values(status=JobStatus.RUNNING)):
                return []
            finished = {"status": ShardStatus.SUCCEEDED, "done": ShardRow.total, "resume_sha256": None}
            if not _give_up(session, claim, result=result, **finished):
                return []
            return _open_next_stage(session, claim)

    def results(self, claim: Claim) -> list[dict[str, Any]]:
        """What the shards of the earlier stages left, in their order."""
        query = select(ShardRow.result).where(ShardRow.job_id == claim.job_id, ShardRow.stage < claim.stage)
        with self._database.reading() as session:
            return [result for result in session.scalars(query.order_by(ShardRow.number)) if result is not None]

    def finish_job(self, claim: Claim, rows: list[ArtifactRow]) -> bool:
        """Make the job succeeded and its artifacts exist, in one transaction; False if another outcome was first.

        Called again with the same `rows` after a commit that failed, it stores them all the same.
        """
        made = [{"noun": row.noun, "kind": row.kind, "id": row.id} for row in rows]
        succeeded = _running(claim).values(status=JobStatus.SUCCEEDED, finished_at=now_s(), artifacts=made)
        with self._database.writing() as session:
            if not rows_changed(session, succeeded):
                return False
            finished = {"status": ShardStatus.SUCCEEDED, "done": ShardRow.total, "resume_sha256": None}
            if not _give_up(session, claim, **finished):
                return False
            for row in rows:
                # A copy is stored: a row that was added itself would count as stored after a commit that failed.
                session.merge(row)
            return True

    def fail(self, claim: Claim, code: str, detail: str, *, discard_resume: bool = False) -> bool:
        """Make the job failed; False if another outcome was first or the claim is lost.

        Args:
            discard_resume: the resume bundle is what failed, so a retry must start without it.
        """
        values = {"resume_sha256": None} if discard_resume else {}
        failed = _running(claim).values(
            status=JobStatus.FAILED, finished_at=now_s(), error_code=code, error_detail=detail
        )
        with self._database.writing() as session:
            return rows_changed(session, failed) == 1 and _give_up(session, claim, status=ShardStatus.QUEUED, **values)

    def release(self, claim: Claim, delay_s: float) -> bool:
        """Hand a shard back to the queue, to be sent again after `delay_s` seconds; not counted as an attempt."""
        values = {
            "status": ShardStatus.QUEUED,
            # Not the attempt of the claim: a resume bundle may have set it back since.
            "attempt": case((ShardRow.attempt > 0, ShardRow.attempt - 1), else_=0),
            "delays": ShardRow.delays + (1 if delay_s else 0),
            "sends": 0,
            "send_after": now_s() + delay_s,
        }
        with self._database.writing() as session:
            if not rows_changed(session, _running(claim).values(status=JobStatus.RUNNING)):
                return False
            if not _give_up(session, claim, **values):
                return False
            if not delay_s:
                give_turn_back(session, claim.job_id)
            requeue_idle_job(session, claim.job_id)
            return True


def _open_next_stage(session: Session, claim: Claim) -> list[int]:
    """Queue the shards of the next stage if the claim's was the last shard of its own; the job's row is locked."""
    ours = ShardRow.job_id == claim.job_id
    unfinished = select(ShardRow.number).where(
        ours, ShardRow.stage <= claim.stage, ShardRow.status != ShardStatus.SUCCEEDED
    )
    if session.scalar(unfinished.limit(1)) is not None:
        return []
    following = session.scalar(select(func.min(ShardRow.stage)).where(ours, ShardRow.status == ShardStatus.WAITING))
    if following is None:
        return []
    waiting = (ours, ShardRow.stage == following, ShardRow.status == ShardStatus.WAITING)
    numbers = list(session.scalars(select(ShardRow.number).where(*waiting).order_by(ShardRow.number)))
    session.execute(update(ShardRow).where(*waiting).values(status=ShardStatus.QUEUED, send_after=now_s()))
    return numbers


def requeue_idle_job(session: Session, job_id: str) -> None:
    """Make a running job queued again when none of its shards is running."""
    working = exists().where(ShardRow.job_id == job_id, ShardRow.status == ShardStatus.RUNNING)
    idle = update(JobRow).where(JobRow.id == job_id, JobRow.status == JobStatus.RUNNING, ~working)
    session.execute(idle.values(status=JobStatus.QUEUED))


def _holds(claim: Claim) -> ColumnElement[bool]:
    """The condition that the claim is still ours."""
    return (
        (ShardRow.job_id == claim.job_id)
        & (ShardRow.number == claim.number)
        & (ShardRow.token == claim.token)
        & (ShardRow.status == ShardStatus.RUNNING)
    )


def _running(claim: Claim) -> Any:
    """An UPDATE of the job's row, if it is running and the claim is still ours."""
    return update(JobRow).where(
        JobRow.id == claim.job_id, JobRow.status == JobStatus.RUNNING, exists().where(_holds(claim))
    )


def _give_up(session: Session, claim: Claim, **values: Any) -> bool:
    """End the claim and set `values`; if it was not ours any more, undo the whole transaction.

    The job's row is locked by now, so this statement sees what a sweeper that was first has committed. The EXISTS of
    `_running` alone would not: PostgreSQL evaluates it with the snapshot from before the wait.
    """
    mine = update(ShardRow).where(_holds(claim)).values(**values, token=None, lease_until=None)
    if rows_changed(session, mine):
        return True
    session.rollback()
    return False
