"""The sweeper: requeues shards whose worker vanished, sends messages that were never sent, ends poisoned jobs.

Several may run at once; every change is conditional. Run one with `python -m shared.jobs.sweeper`.
"""

import signal
import threading
import time
from dataclasses import dataclass

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from shared.artifacts.garbage import collect_garbage
from shared.artifacts.store import get_artifacts
from shared.database import Database, get_database, now_s, rows_changed
from shared.errors import SynthMRIError
from shared.jobs.claims import requeue_idle_job
from shared.jobs.states import OPEN, QUEUES, JobStatus, ShardStatus
from shared.jobs.tables import JobRow, ShardRow
from shared.jobs.turns import give_turn_back
from shared.logs import configure_logs, get_log
from shared.objects import get_objects
from shared.queue import get_redis, queue_length, send
from shared.settings import get_settings

HEARTBEAT_KEY = "synthmri:sweeper:seen"
"""Redis key that is set anew at every sweep; its absence shows in /readyz."""
MAX_BACKOFF_S = 300.0
FIRST_COLLECTION_S, COLLECT_EVERY_S = 600.0, 6 * 3600.0

log = get_log(__name__)


@dataclass(frozen=True)
class Swept:
    """What one sweep changed."""

    requeued: int
    poisoned: int
    sent: int


def sweep(database: Database, max_attempts: int) -> Swept:
    """Look once at all open jobs."""
    requeued, poisoned = recover_lost_shards(database, max_attempts)
    return Swept(requeued, poisoned, send_due_messages(database))


def recover_lost_shards(database: Database, max_attempts: int) -> tuple[int, int]:
    """Requeue shards whose lease ran out; fail the job of one that ran out `max_attempts` times without progress."""
    lost = (
        select(ShardRow.job_id, ShardRow.number, ShardRow.token, ShardRow.attempt)
        .join(JobRow, JobRow.id == ShardRow.job_id)
        .where(ShardRow.status == ShardStatus.RUNNING, ShardRow.lease_until < now_s(), JobRow.status.in_(OPEN))
    )
    with database.reading() as session:
        found = list(session.execute(lost))
    requeued = poisoned = 0
    for job_id, number, token, attempt in found:
        with database.writing() as session:
            if not _take_back(session, job_id, number, token):
                continue
            if attempt < max_attempts:
                give_turn_back(session, job_id)
                requeue_idle_job(session, job_id)
                requeued += 1
                log.warning("shard_requeued", job_id=job_id, shard=number, attempt=attempt)
            else:
                poisoned += _poison(session, job_id, attempt)
                log.error("job_poisoned", job_id=job_id, shard=number, attempt=attempt)
    return requeued, poisoned


def check_writes(database: Database) -> None:
    """Return if the database takes what heartbeats write; as long as it only reads, every lease runs out.

    Raises:
        DatabaseUnavailable, StorageFull: it does not.
    """
    running = select(JobRow.id).where(JobRow.status == JobStatus.RUNNING).limit(1).scalar_subquery()
    with database.writing() as session:
        session.execute(update(JobRow).where(JobRow.id == running).values(status=JobRow.status))


def _take_back(session: Session, job_id: str, number: int, token: str | None) -> bool:
    """Queue a shard again if its lease is still lost; the job's row first, as in `claims.py`."""
    session.execute(update(JobRow).where(JobRow.id == job_id, JobRow.status.in_(OPEN)).values(status=JobRow.status))
    changed = rows_changed(
        session,
        update(ShardRow)
        .where(
            ShardRow.job_id == job_id,
            ShardRow.number == number,
            ShardRow.token == token,
            ShardRow.status == ShardStatus.RUNNING,
            ShardRow.lease_until < now_s(),
            exists().where(JobRow.id == job_id, JobRow.status.in_(OPEN)),
        )
        .values(status=ShardStatus.QUEUED, token=None, lease_until=None, sends=0, send_after=now_s()),
    )
    return changed == 1


def _poison(session: Session, job_id: str, attempt: int) -> int:
    detail = (
        f"The worker was lost {attempt} times before it could save its work; see the workers' logs, then retry the job."
    )
    failed = update(JobRow).where(JobRow.id == job_id, JobRow.status.in_(OPEN))
    values = {"status": JobStatus.FAILED, "finished_at": now_s(), "error_code": "poisoned", "error_detail": detail}
    return rows_changed(session, failed.values(**values))


def send_due_messages(database: Database) -> int:
    """Send a message for every queued shard that has waited too long, unless its queue holds enough of them.

    Without the second condition a backlog is sent again at every sweep. Each sending doubles the wait before the next.
    """
    sent = 0
    for queue in sorted(set(QUEUES.values())):
        kinds = [kind for kind, name in QUEUES.items() if name == queue]
        waiting = (
            select(ShardRow.job_id, ShardRow.number, JobRow.kind, ShardRow.send_after < now_s(), ShardRow.sends)
            .join(JobRow, JobRow.id == ShardRow.job_id)
            .where(ShardRow.status == ShardStatus.QUEUED, JobRow.status.in_(OPEN), JobRow.kind.in_(kinds))
            .order_by(JobRow.created_at, ShardRow.number)
        )
        with database.reading() as session:
            rows = list(session.execute(waiting))
        due = [row for row in rows if row[3]]
        if not due:
            continue
        room = len(rows) - queue_length(queue)
        for job_id, number, kind, _, sends in due[: max(room, 0)]:
            send(kind, job_id, number)
            sent += _mark_sent(database, job_id, number, sends)
    return sent


def _mark_sent(database: Database, job_id: str, number: int, sends: int) -> int:
    wait_s = min(MAX_BACKOFF_S, 6.0 * 2**sends)
    mine = update(ShardRow).where(ShardRow.job_id == job_id, ShardRow.number == number)
    with database.writing() as session:
        session.execute(mine.values(sends=ShardRow.sends + 1, send_after=now_s() + wait_s))
    return 1


def main() -> None:
    """Sweep until SIGTERM."""
    settings = get_settings()
    configure_logs(settings.log_level)
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    log.info("sweeper_started")
    threading.Thread(target=_collect_now_and_then, args=(stop,), daemon=True).start()
    seen_at, trust_at = time.time(), 0.0
    while not stop.wait(settings.sweep_s):
        try:
            check_writes(get_database())
            if time.time() - seen_at > settings.lease_s / 2:
                # The database or this machine was away, so every lease looks lost: let living workers renew theirs.
                trust_at = time.time() + 3 * settings.heartbeat_s
            seen_at = time.time()
            if seen_at < trust_at:
                continue
            swept = sweep(get_database(), settings.max_attempts)
            get_redis().set(HEARTBEAT_KEY, "1", ex=max(30, int(settings.sweep_s * 5)))
            if swept != Swept(0, 0, 0):
                log.info("swept", requeued=swept.requeued, poisoned=swept.poisoned, sent=swept.sent)
        except SynthMRIError as error:
            log.warning("sweep_failed", code=error.code)
        except Exception:
            log.exception("sweep_broke")


def _collect_now_and_then(stop: threading.Event) -> None:
    """Collect garbage until `stop`; in a thread of its own, since reading every manifest may take minutes."""
    wait_s = FIRST_COLLECTION_S
    while not stop.wait(wait_s):
        wait_s = COLLECT_EVERY_S
        try:
            log.info("garbage_collected", removed=collect_garbage(get_database(), get_objects(), get_artifacts()))
        except SynthMRIError as error:
            log.error("garbage_not_collected", code=error.code, detail=error.detail)
        except Exception:
            log.exception("garbage_not_collected")


if __name__ == "__main__":
    main()
