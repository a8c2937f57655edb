"""The pace of a job: a few marks (when, how many units were done), and the line through them.

The first mark is made when the first units are done, so that what happens once, such as loading a framework and a
model, slows no forecast; what happens again and again, such as loading images or validating, is in the line.
"""

from collections.abc import Sequence
from statistics import linear_regression
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.database import now_s
from shared.jobs.tables import JobRow, ShardRow

Mark = Sequence[float]
"""(seconds since 1970 by the database's clock, units done)."""

MOST_MARKS: Final = 32
_ENOUGH: Final = 8


def advance(marks: Sequence[Mark], time_s: float, done: int) -> list[Mark]:
    """`marks` with a new one at its end, if more is done than before; thinned out where there are too many.

    Fewer units than before mean that one worker's unfinished part was lost: the earlier marks are lowered by as much,
    for the others kept their pace.
    """
    if not marks:
        return [(time_s, done)] if done > 0 else []
    last = marks[-1][1]
    if done < last:
        return [(time, units - (last - done)) for time, units in marks]
    if done == last:
        return list(marks)
    if len(marks) >= MOST_MARKS:
        marks = [*marks[:-2:2], *marks[-2:]]
    return [*marks, (max(time_s, marks[-1][0]), done)]


def units_per_s(marks: Sequence[Mark]) -> float | None:
    """Slope of the least-squares line through the newer half of the marks' time; None as long as there is no line.

    A line through all marks, and not through the first and the last, since workers in step finish their batches
    together: between k changes lie fewer than k - 1 intervals.
    """
    middle = (marks[0][0] + marks[-1][0]) / 2 if marks else 0.0
    newer = [mark for mark in marks if mark[0] >= middle]
    chosen = newer if len(newer) >= _ENOUGH else marks[-_ENOUGH:]
    if len(chosen) < 2 or chosen[-1][0] <= chosen[0][0]:
        return None
    origin = chosen[0][0]  # A clock of 1.8e9 s leaves a float few digits for squares.
    slope = linear_regression([mark[0] - origin for mark in chosen], [mark[1] for mark in chosen]).slope
    return slope if slope > 0 else None


def remaining_s(marks: Sequence[Mark], total: int, now_s: float) -> float | None:
    """Seconds until `total` units are done; None as long as the pace is not known.

    Counts down between two marks, but no longer than the last two lay apart: a job that hangs is not about to end.
    """
    rate = units_per_s(marks)
    if rate is None:
        return None
    since_last, usual = now_s - marks[-1][0], marks[-1][0] - marks[-2][0]
    return max(0.0, (total - marks[-1][1]) / rate - max(0.0, min(since_last, usual)))


def mark_pace(session: Session, job_id: str, age_s: float) -> None:
    """Add what is done now to the marks of a job whose row is locked; it was reached `age_s` seconds ago."""
    shards = select(func.sum(ShardRow.done)).where(ShardRow.job_id == job_id).group_by(ShardRow.finishes)
    done = session.scalar(shards.order_by(ShardRow.finishes).limit(1))  # Of the parts, or of the one step.
    if done:
        job = session.get_one(JobRow, job_id)
        time_s = float(session.scalar(select(now_s())) or 0.0) - age_s
        job.pace = advance(job.pace, time_s, int(done))
