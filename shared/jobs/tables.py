"""The tables `jobs`, `shards`, `job_files` and `idempotency`. Times are seconds since 1970 by the database's clock."""

from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Float, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import Base


class JobRow(Base):
    """One long piece of work somebody asked for."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    owner: Mapped[str] = mapped_column(String(100), index=True)
    status: Mapped[str] = mapped_column(String(12), index=True)
    request: Mapped[dict[str, Any]] = mapped_column(JSON)
    request_id: Mapped[str] = mapped_column(String(64))
    total: Mapped[int] = mapped_column(BigInteger)
    done_before: Mapped[int] = mapped_column(BigInteger, default=0)  # taken over by a retry; no part of this job's rate
    unit: Mapped[str] = mapped_column(String(20))
    artifacts: Mapped[list[dict[str, str]]] = mapped_column(JSON, default=list)
    error_code: Mapped[str | None] = mapped_column(String(80))
    error_detail: Mapped[str | None] = mapped_column(Text)
    retry_of: Mapped[str | None] = mapped_column(String(40))
    created_at: Mapped[float] = mapped_column(Float, index=True)
    started_at: Mapped[float | None] = mapped_column(Float)
    finished_at: Mapped[float | None] = mapped_column(Float)
    served_at: Mapped[float | None] = mapped_column(Float)  # when a shard was last claimed; jobs take turns by it
    pace: Mapped[list[Any]] = mapped_column(
        JSON, default=list
    )  # the marks of `pace.py`, since the job last stood still


class ShardRow(Base):
    """One part of a job that one worker does at a time. The last one, `finishes`, stores the job's artifacts."""

    __tablename__ = "shards"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    status: Mapped[str] = mapped_column(String(12))
    finishes: Mapped[bool] = mapped_column(Boolean, default=False)
    # Shards of a stage wait until every shard of the stages before it has succeeded; the finishing step is the last.
    stage: Mapped[int] = mapped_column(Integer, default=0)
    spec: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    # The claim: who works on it (token), until when, and for the how-many-eth time without lasting progress.
    token: Mapped[str | None] = mapped_column(String(40))
    lease_until: Mapped[float | None] = mapped_column(Float)
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    # What the work says of itself while it runs.
    done: Mapped[int] = mapped_column(BigInteger, default=0)
    total: Mapped[int] = mapped_column(BigInteger, default=0)
    notes: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    resume_sha256: Mapped[str | None] = mapped_column(String(64))
    # The message: how often it was sent, and when the sweeper may send it again.
    sends: Mapped[int] = mapped_column(Integer, default=0)
    send_after: Mapped[float] = mapped_column(Float, default=0.0)
    delays: Mapped[int] = mapped_column(Integer, default=0)

    __table_args__ = (Index("ix_shards_status_lease", "status", "lease_until"),)


class JobFileRow(Base):
    """A file that the work of a job shows; its bytes are a blob. Kept as long as the job's row."""

    __tablename__ = "job_files"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    published_at: Mapped[float] = mapped_column(Float)


class IdempotencyRow(Base):
    """What the first request under an Idempotency-Key made, so that a repeated request makes nothing new."""

    __tablename__ = "idempotency"

    owner: Mapped[str] = mapped_column(String(100), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_hash: Mapped[str] = mapped_column(String(64))
    resource: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[float] = mapped_column(Float)
