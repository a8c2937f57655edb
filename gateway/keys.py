"""API keys: made once, shown once, stored as a hash."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Float, String, select, update
from sqlalchemy.orm import Mapped, mapped_column

from shared.artifacts.store import EVERYONE
from shared.database import Base, Database, now_s
from shared.errors import InvalidInput, NotFound, SynthMRIError
from shared.logs import get_log

SCOPES: Final = ("read", "write", "admin")
log = get_log(__name__)

_IMPLIED: Final = {"read": {"read"}, "write": {"read", "write"}, "admin": {"read", "write", "admin"}}
_KEY: Final = re.compile(r"smri_(?P<id>[0-9a-f]{12})_[0-9a-f]{64}")
# The services learn the owner from an HTTP header, which carries other characters changed or not at all.
_OWNER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_TOUCH_S: Final = 60.0


class ScopeUnknown(InvalidInput):
    """A scope is none of read, write and admin."""


class OwnerInvalid(InvalidInput):
    """The owner's name has a character that it may not have, is empty, or is too long."""


class OwnerReserved(InvalidInput):
    """The owner's name belongs to what came with the platform."""


class ApiKeyNotFound(NotFound):
    """No API key with this id."""


class ApiKeyRow(Base):
    """One API key; `scopes` is a comma-separated list, times are seconds since 1970."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    owner: Mapped[str] = mapped_column(String(100))
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[float] = mapped_column(Float)
    revoked_at: Mapped[float | None] = mapped_column(Float)
    last_used_at: Mapped[float | None] = mapped_column(Float)


@dataclass(frozen=True)
class Principal:
    """Who calls: a key, the team that owns what it makes, and what it may do."""

    key_id: str
    owner: str
    scopes: frozenset[str]

    @property
    def sees(self) -> str | None:
        """The owner whose things this key may see; None (an administrator) means everybody's."""
        return None if "admin" in self.scopes else self.owner


def create_key(database: Database, *, name: str, owner: str, scopes: list[str]) -> tuple[str, dict[str, Any]]:
    """A new key and its description; the key itself is stored nowhere and cannot be shown again.

    Raises:
        ScopeUnknown: a scope is none of read, write and admin.
        OwnerInvalid: the owner is not of ASCII letters, digits, `.`, `_` and `-`.
        OwnerReserved: the owner is EVERYONE.
    """
    if not _OWNER.fullmatch(owner):
        raise OwnerInvalid(
            f"The owner {owner[:60]!r} cannot be used; take 1 to 100 of the characters A-Z, a-z, 0-9, '.', '_', '-', "
            "and a letter or a digit for the first."
        )
    if owner == EVERYONE:
        raise OwnerReserved(f"The owner {EVERYONE!r} is that of the models shipped with the platform; choose another.")
    unknown = set(scopes) - set(SCOPES)
    if unknown or not scopes:
        raise ScopeUnknown(f"Scopes are {', '.join(SCOPES)}; admin implies write, write implies read.", valid=SCOPES)
    key_id = secrets.token_hex(6)
    key = f"smri_{key_id}_{secrets.token_hex(32)}"
    row = ApiKeyRow(
        id=key_id,
        name=name[:200],
        owner=owner,
        key_hash=_hash(key),
        scopes=",".join(scope for scope in SCOPES if scope in scopes),
        created_at=now_s(),
    )
    with database.writing() as session:
        session.add(row)
        session.flush()
        return key, _view(row)


def list_keys(database: Database) -> list[dict[str, Any]]:
    """Every key's description, oldest first."""
    with database.reading() as session:
        return [_view(row) for row in session.scalars(select(ApiKeyRow).order_by(ApiKeyRow.created_at))]


def revoke_key(database: Database, key_id: str) -> None:
    """End a key's life; its next request is refused.

    Raises:
        ApiKeyNotFound: there is no key with this id.
    """
    with database.writing() as session:
        row = session.get(ApiKeyRow, key_id)
        if row is None:
            raise ApiKeyNotFound(f"There is no API key {key_id[:60]!r}; `synthmri keys list` shows them.")
        if row.revoked_at is None:
            row.revoked_at = now_s()


def find_principal(database: Database, key: str) -> Principal | None:
    """Who holds `key`, or None if it is not a valid key."""
    shape = _KEY.fullmatch(key)
    if shape is None:
        return None
    with database.reading() as session:
        row = session.get(ApiKeyRow, shape["id"])
        stale = select(ApiKeyRow.id).where(
            ApiKeyRow.id == shape["id"],
            (ApiKeyRow.last_used_at.is_(None)) | (ApiKeyRow.last_used_at < now_s() - _TOUCH_S),
        )
        must_touch = row is not None and session.scalar(stale) is not None
    if row is None or not hmac.compare_digest(row.key_hash, _hash(key)) or row.revoked_at is not None:
        return None
    if must_touch:
        _touch(database, row.id)
    scopes = frozenset().union(*(_IMPLIED[scope] for scope in row.scopes.split(",")))
    return Principal(row.id, row.owner, scopes)


def _touch(database: Database, key_id: str) -> None:
    """Record that the key was used; reading goes on when this cannot be written, on a full disk for example."""
    try:
        with database.writing() as session:
            session.execute(update(ApiKeyRow).where(ApiKeyRow.id == key_id).values(last_used_at=now_s()))
    except SynthMRIError as error:
        log.warning("key_use_not_recorded", code=error.code)


def _hash(key: str) -> str:
    """SHA-256 is enough for a secret of 256 random bits; a slow hash protects only guessable ones."""
    return hashlib.sha256(key.encode()).hexdigest()


def _view(row: ApiKeyRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "owner": row.owner,
        "scopes": row.scopes.split(","),
        "created_at": row.created_at,
        "revoked_at": row.revoked_at,
        "last_used_at": row.last_used_at,
    }
