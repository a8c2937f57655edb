"""Make, read, cancel and retry jobs. What workers do to their claims is in `claims.py`."""

import uuid
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from shared.cursors import encode_cursor, older_than
from shared.database import Database, now_s, rows_changed
from shared.errors import Conflict, JobAlreadyFinished, JobNotFinished, JobNotFound
from shared.jobs.files import JobFile, files_of_job, pick_file, take_over_files
from shared.jobs.idempotency import KeyedRequest, recall, remember
from shared.jobs.states import FINAL, OPEN, JobStatus, ShardStatus
from shared.jobs.tables import JobRow, ShardRow
from shared.jobs.views import job_summary, job_view

FIRST_SEND_GRACE_S = 6.0
"""How long the maker of a job has to send its messages before the sweeper does, seconds."""


class JobAlreadySucceeded(Conflict):
    """A job that succeeded has nothing to retry."""


@dataclass(frozen=True)
class NewJob:
    """What somebody asks for.

    Args:
        kind: a key of `states.QUEUES`.
        owner: whose job it is.
        request: the full, resolved request; workers read nothing else.
        shards: one small JSON object per part that any worker may take; empty means the finishing step does it all.
            A member `stage` (0 if left out, then 1, 2, ...) makes a part wait for all parts of earlier stages.
        total: how many units the whole job has, in `unit`s.
        key_owner: whose `idempotency_key` it is; None means the owner's.
    """

    kind: str
    owner: str
    request: dict[str, Any]
    request_id: str = ""
    shards: list[dict[str, Any]] = field(default_factory=list)
    total: int = 1
    unit: str = "step"
    retry_of: str | None = None
    idempotency_key: str | None = None
    request_hash: str = ""
    key_owner: str | None = None

    def keyed(self) -> KeyedRequest | None:
        """The request, if it has an Idempotency-Key."""
        if not self.idempotency_key:
            return None
        owner = self.owner if self.key_owner is None else self.key_owner
        return KeyedRequest(owner, self.idempotency_key, self.request_hash)


class JobStore:
    """The jobs of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, new: NewJob) -> tuple[str, bool]:
        """Store a queued job with its shards; returns its id and whether it is new (False: the key was known)."""
        return self._insert(new, [])

    def _insert(self, new: NewJob, carried: list[ShardRow]) -> tuple[str, bool]:
        """Store a job; `carried` are shards of an earlier job whose results and resume bundles are taken over."""
        if known := self._recall(new):
            return known, False
        job_id = f"job-{uuid.uuid4().hex[:20]}"
        try:
            with self._database.writing() as session:
                session.add(
                    JobRow(
                        id=job_id,
                        kind=new.kind,
                        owner=new.owner,
                        status=JobStatus.QUEUED,
                        request=new.request,
                        request_id=new.request_id,
                        total=new.total,
                        done_before=sum(shard.done for shard in carried if _takes_over(shard)),
                        unit=new.unit,
                        artifacts=[],
                        retry_of=new.retry_of,
                        created_at=now_s(),
                    )
                )
                session.flush()
                session.add_all(_shards(job_id, new.shards, carried))
                if new.retry_of and any(_takes_over(shard) for shard in carried):
                    take_over_files(session, new.retry_of, job_id)
                if keyed := new.keyed():
                    remember(session, keyed.owner, keyed.key, keyed.request_hash, f"jobs/{job_id}")
        except IntegrityError:
            if known := self._recall(new):  # somebody else with the same key was first
                return known, False
            raise
        return job_id, True

    def _recall(self, new: NewJob) -> str | None:
        keyed = new.keyed()
        resource = recall(self._database, keyed.owner, keyed.key, keyed.request_hash) if keyed else None
        return resource.removeprefix("jobs/") if resource else None

    def queued_shards(self, job_id: str) -> list[int]:
        """The numbers of the shards of this job that wait for a worker."""
        with self._database.reading() as session:
            query = select(ShardRow.number).where(ShardRow.job_id == job_id, ShardRow.status == ShardStatus.QUEUED)
            return list(session.scalars(query.order_by(ShardRow.number)))

    def get(self, job_id: str, owner: str | None) -> dict[str, Any]:
        """The job as the API shows it; `owner` None is an administrator.

        Raises:
            JobNotFound: there is none, or it is somebody else's.
        """
        with self._database.reading() as session:
            row = session.get(JobRow, job_id)
            if row is None or (owner is not None and row.owner != owner):
                raise JobNotFound(f"There is no job {job_id[:60]!r}; GET /jobs lists yours.")
            return job_view(session, row)

    def resume_bundle(self, job_id: str) -> str | None:
        """The SHA-256 of the newest resume bundle of a job whose work is one shard, or None."""
        with self._database.reading() as session:
            query = select(ShardRow.resume_sha256).where(ShardRow.job_id == job_id, ShardRow.resume_sha256.is_not(None))
            return session.scalar(query.order_by(ShardRow.number).limit(1))

    def file(self, job_id: str, name: str, owner: str | None) -> JobFile:
        """One file of a job.

        Raises:
            JobNotFound, JobFileNotFound: there is none, or it is somebody else's.
        """
        self.get(job_id, owner)
        with self._database.reading() as session:
            return pick_file(files_of_job(session, job_id), name)

    def list(
        self,
        owner: str | None,
        *,
        cursor: str | None = None,
        limit: int = 50,
        status: str | None = None,
        kind: str | None = None,
    ) -> tuple[list[dict[str, Any]], str | None]:
        """One page of jobs, newest first, and the cursor of the next page."""
        query = select(JobRow)
        for column, value in ((JobRow.owner, owner), (JobRow.status, status), (JobRow.kind, kind)):
            if value is not None:
                query = query.where(column == value)
        if cursor is not None:
            query = query.where(older_than(cursor, JobRow.created_at, JobRow.id))
        query = query.order_by(JobRow.created_at.desc(), JobRow.id.desc()).limit(limit + 1)
        with self._database.reading() as session:
            rows = list(session.scalars(query))
            page = [job_summary(session, row) for row in rows[:limit]]
        more = len(rows) > limit
        return page, encode_cursor(rows[limit - 1].created_at, rows[limit - 1].id) if more else None

    def cancel(self, job_id: str, owner: str | None, keyed: KeyedRequest | None = None) -> dict[str, Any]:
        """Cancel an open job: from this commit on no worker's result is accepted.

        Args:
            owner: whose jobs are seen; None is an administrator.
            keyed: the request, if it has an Idempotency-Key: the same request again answers with the job.

        Raises:
            JobNotFound: there is none, or it is somebody else's.
            JobAlreadyFinished: it succeeded, failed or was cancelled before.
            IdempotencyKeyReused: the key was used with another request.
        """
        self.get(job_id, owner)
        if not (self._is_known(keyed) or self._cancel(job_id, keyed) or self._is_known(keyed)):
            status = self.get(job_id, owner)["status"]
            raise JobAlreadyFinished(f"The job already {_past(status)}; there is nothing to cancel.")
        return self.get(job_id, owner)

    def _cancel(self, job_id: str, keyed: KeyedRequest | None) -> bool:
        """Cancel the job and record the key in one transaction; whether this call made the change."""
        is_open = update(JobRow).where(JobRow.id == job_id, JobRow.status.in_(OPEN))
        try:
            with self._database.writing() as session:
                changed = rows_changed(session, is_open.values(status=JobStatus.CANCELLED, finished_at=now_s()))
                if changed and keyed:
                    remember(session, keyed.owner, keyed.key, keyed.request_hash, f"jobs/{job_id}")
        except IntegrityError:
            self._is_known(keyed)  # raises if another request has taken the key since
            raise
        return changed > 0

    def _is_known(self, keyed: KeyedRequest | None) -> bool:
        """Whether this very request was answered before."""
        if keyed is None:
            return False
        return recall(self._database, keyed.owner, keyed.key, keyed.request_hash) is not None

    def retry(self, job_id: str, new: NewJob, *, by_administrator: bool = False) -> tuple[str, bool]:
        """Make a new job from a failed or cancelled one; finished shards and resume bundles are taken over.

        Args:
            new: supplies who asks, request id and idempotency key; the rest, its owner too, comes from the old job.
            by_administrator: who asks may retry every owner's jobs.

        Raises:
            JobNotFound, JobNotFinished, JobAlreadySucceeded: there is nothing to retry.
        """
        view = self.get(job_id, None if by_administrator else new.owner)
        if view["status"] not in FINAL:
            raise JobNotFinished("The job is still open; wait for it or cancel it before you retry it.")
        if view["status"] == JobStatus.SUCCEEDED:
            raise JobAlreadySucceeded("The job succeeded; send the original request again to repeat it.")
        with self._database.reading() as session:
            old = session.get_one(JobRow, job_id)
            shards = list(session.scalars(select(ShardRow).where(ShardRow.job_id == job_id).order_by(ShardRow.number)))
        again = NewJob(
            kind=old.kind,
            owner=old.owner,
            request=old.request,
            request_id=new.request_id,
            shards=[shard.spec for shard in shards if not shard.finishes],
            total=old.total,
            unit=old.unit,
            retry_of=old.id,
            idempotency_key=new.idempotency_key,
            request_hash=new.request_hash,
            key_owner=new.owner,  # who asks, not whose job it is
        )
        return self._insert(again, shards)


def _takes_over(shard: ShardRow) -> bool:
    """Whether a retry need not do all of this shard again."""
    return shard.status == ShardStatus.SUCCEEDED or shard.resume_sha256 is not None


def _shards(job_id: str, specs: list[dict[str, Any]], carried: list[ShardRow]) -> list[ShardRow]:
    """The shard rows of a new job; the finishing step comes last and waits for the others."""
    old = {shard.number: shard for shard in carried}
    rows = []
    for number, spec in enumerate([*specs, {}]):
        row = ShardRow(
            job_id=job_id,
            number=number,
            spec=spec,
            finishes=number == len(specs),
            stage=_stage(specs, number),
            status=ShardStatus.WAITING,
            attempt=0,
            done=0,
            total=0,
            notes={},
            sends=0,
            delays=0,
            send_after=now_s() + FIRST_SEND_GRACE_S,
        )
        if earlier := old.get(number):
            row.resume_sha256 = earlier.resume_sha256
            if earlier.status == ShardStatus.SUCCEEDED and not row.finishes:
                row.status, row.result = ShardStatus.SUCCEEDED, earlier.result
                row.done, row.total = earlier.done, earlier.total
        rows.append(row)
    first = min(row.stage for row in rows if row.status == ShardStatus.WAITING)
    for row in rows:
        if row.stage == first and row.status == ShardStatus.WAITING:
            row.status = ShardStatus.QUEUED
    return rows


def _stage(specs: list[dict[str, Any]], number: int) -> int:
    """The stage of a shard; the finishing step, which has no spec, comes after all of them."""
    if number < len(specs):
        return int(specs[number].get("stage", 0))
    return 1 + max((int(spec.get("stage", 0)) for spec in specs), default=-1)


def _past(status: str) -> str:
    return "was cancelled" if status == JobStatus.CANCELLED else status
