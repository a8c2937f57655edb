"""Idempotency keys: a repeated request answers with what the first one made; another request is refused."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from shared.database import Database, now_s
from shared.errors import IdempotencyKeyReused
from shared.jobs.tables import IdempotencyRow


@dataclass(frozen=True)
class KeyedRequest:
    """A request that may come again: whose Idempotency-Key it has, the key, and the hash that the key is bound to."""

    owner: str
    key: str
    request_hash: str


def recall(database: Database, owner: str, key: str, request_hash: str) -> str | None:
    """What was made under this key, for example `jobs/job-1f...`; None if the key is new.

    Raises:
        IdempotencyKeyReused: the key was used with another request.
    """
    with database.reading() as session:
        row = session.get(IdempotencyRow, (owner, key))
    if row is None:
        return None
    if row.request_hash != request_hash:
        raise IdempotencyKeyReused(
            "This Idempotency-Key was used before with another request; use a new key for a new request."
        )
    return row.resource


def remember(session: Session, owner: str, key: str, request_hash: str, resource: str) -> None:
    """Record, in the transaction that makes `resource`, that this key made it; a second recorder fails at commit."""
    session.add(IdempotencyRow(owner=owner, key=key, request_hash=request_hash, resource=resource, created_at=now_s()))
    session.flush()
