"""Whose turn it is: a message only wakes a worker, which then claims a shard of the job that has waited longest.

Jobs of one queue take turns, shard by shard, so that a short job never waits for a long one to end. A new job stands at
the end of the round, where its making counts as its last turn; so no stream of new jobs holds up an old one either.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, func, literal, not_, select, tuple_, update
from sqlalchemy.orm import Session

from shared.database import Database, now_s
from shared.jobs.states import OPEN, ShardStatus
from shared.jobs.tables import JobRow, ShardRow

_LAST_TURN = func.coalesce(JobRow.served_at, JobRow.created_at)


@dataclass(frozen=True)
class Turn:
    """The shard to claim next; another worker may be faster."""

    kind: str
    job_id: str
    number: int


def next_turn(database: Database, kinds: list[str]) -> Turn | None:
    """The lowest queued shard of the open job of these kinds that was served least recently; None if there is none.

    A shard that waits for something that was down is left out until its time has come.
    """
    query = (
        select(JobRow.kind, ShardRow.job_id, ShardRow.number)
        .join(JobRow, JobRow.id == ShardRow.job_id)
        .where(*_may_be_claimed(kinds))
        .order_by(_LAST_TURN, JobRow.created_at, JobRow.id, ShardRow.number)
        .limit(1)
    )
    with database.reading() as session:
        found = session.execute(query).first()
    return Turn(*found) if found is not None else None


def count_turns_before(session: Session, job: JobRow, kinds: list[str]) -> int:
    """How many other jobs of these kinds have their turn before this one; 0 means that it is next."""
    last_turn = job.created_at if job.served_at is None else job.served_at
    earlier = tuple_(_LAST_TURN, JobRow.created_at, JobRow.id) < tuple_(
        literal(last_turn), literal(job.created_at), literal(job.id)
    )
    has_a_part = exists().where(ShardRow.job_id == JobRow.id, *_may_be_claimed(kinds)).correlate(JobRow)
    open_ones = select(func.count()).select_from(JobRow).where(JobRow.status.in_(OPEN), JobRow.kind.in_(kinds))
    return session.scalar(open_ones.where(earlier, has_a_part)) or 0


def _may_be_claimed(kinds: list[str]) -> tuple[ColumnElement[bool], ...]:
    """The conditions that a shard waits for nothing but a worker."""
    waits = (ShardRow.delays > 0) & (ShardRow.sends == 0) & (ShardRow.send_after > now_s())
    return ShardRow.status == ShardStatus.QUEUED, JobRow.status.in_(OPEN), JobRow.kind.in_(kinds), not_(waits)


def give_turn_back(session: Session, job_id: str) -> None:
    """Let a job go on early whose last turn came to nothing, since its worker was stopped or lost."""
    session.execute(update(JobRow).where(JobRow.id == job_id).values(served_at=None))
