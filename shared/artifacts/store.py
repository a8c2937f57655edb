"""Store and find artifacts. The manifest is written first, the row after it; without a row there is no artifact."""

import hashlib
import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.artifacts.provenance import code_version, library_versions
from shared.artifacts.tables import ArtifactRow
from shared.cursors import encode_cursor, older_than
from shared.database import Database, get_database, now_s
from shared.errors import ImageSetNotFound, ModelNotFound, NotFound, ObjectDamaged, ReportNotFound
from shared.objects import ObjectStore, get_objects

_PREFIX: Final = {"image_set": "set", "model": "mdl", "report": "rep"}
_MISSING: Final[dict[str, type[NotFound]]] = {
    "image_set": ImageSetNotFound,
    "model": ModelNotFound,
    "report": ReportNotFound,
}
_WORDS: Final = {"image_set": "image set", "model": "model", "report": "report"}
EVERYONE: Final = "everyone"
"""The owner of what came with the platform: every key may see it, and none can have this owner."""
URLS: Final = {"image_set": "/image-sets/", "model": "/models/", "report": "/reports/"}


@dataclass(frozen=True)
class Artifact:
    """One stored artifact; `summary` is what lists show of it, `created_at` is in seconds since 1970."""

    id: str
    noun: str
    kind: str
    name: str
    owner: str
    tumour_class: str | None
    job_id: str | None
    manifest_sha256: str
    summary: dict[str, Any]
    created_at: float

    def view(self) -> dict[str, Any]:
        """The artifact as lists and single answers show it."""
        view = {"id": self.id, "kind": self.kind, "name": self.name, "job": self.job_id, **self.summary}
        if self.tumour_class is not None:
            view["class"] = self.tumour_class
        view["created_at"] = datetime.fromtimestamp(self.created_at, UTC).isoformat()
        view["url"] = URLS[self.noun] + self.id
        return view


@dataclass(frozen=True)
class DraftArtifact:
    """What a job made and wants kept.

    Args:
        noun: `image_set`, `model` or `report`.
        kind: for example `raw`, `synthetic`, `diffusion` or `evaluation`.
        name: for people; need not be unique.
        body: members of the manifest, such as `images`, `objects`, `config` or `report`.
        summary: small facts that lists show.
        tumour_class: the class of a diffusion model or of a set of one class.
        parents: ids of the artifacts this one was made from.
    """

    noun: str
    kind: str
    name: str
    body: dict[str, Any]
    summary: dict[str, Any] = field(default_factory=dict)
    tumour_class: str | None = None
    parents: list[str] = field(default_factory=list)


class ArtifactStore:
    """Artifacts in one database and one object store."""

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self._database = database
        self._objects = objects
        self._read_manifest = lru_cache(maxsize=16)(self._load_manifest)

    def write_manifest(
        self, draft: DraftArtifact, *, owner: str, job_id: str | None = None, request: dict[str, Any] | None = None
    ) -> ArtifactRow:
        """Store the manifest of `draft` and return the row that, once committed, makes it an artifact."""
        artifact_id = f"{_PREFIX[draft.noun]}-{uuid.uuid4().hex[:20]}"
        manifest = {
            "id": artifact_id,
            "noun": draft.noun,
            "kind": draft.kind,
            "name": draft.name,
            "class": draft.tumour_class,
            "parents": draft.parents,
            "job": job_id,
            "request": request or {},
            "code_version": code_version(),
            "library_versions": library_versions(),
            **draft.body,
        }
        data = json.dumps(manifest, allow_nan=False, separators=(",", ":")).encode()
        self._objects.put(manifest_key(artifact_id), data)
        return ArtifactRow(
            id=artifact_id,
            noun=draft.noun,
            kind=draft.kind,
            name=draft.name[:200],
            owner=owner,
            tumour_class=draft.tumour_class,
            job_id=job_id,
            manifest_sha256=hashlib.sha256(data).hexdigest(),
            summary=draft.summary,
            created_at=now_s(),
        )

    def create(
        self, draft: DraftArtifact, *, owner: str, request: dict[str, Any] | None = None, session: Session | None = None
    ) -> Artifact:
        """Store an artifact that no job made, such as an upload; inside `session` if one is given."""
        row = self.write_manifest(draft, owner=owner, request=request)
        if session is not None:
            session.add(row)
            session.flush()
            return artifact_of(row)
        with self._database.writing() as own_session:
            own_session.add(row)
            own_session.flush()
            return artifact_of(row)

    def get(self, artifact_id: str, owner: str | None, noun: str | None = None) -> Artifact:
        """The artifact with this id, if `owner` (None: an administrator) may see it: their own, and EVERYONE's.

        Raises:
            ImageSetNotFound, ModelNotFound, ReportNotFound: there is none, or it is somebody else's.
        """
        with self._database.reading() as session:
            row = session.get(ArtifactRow, artifact_id)
            hidden = row is None or (owner is not None and row.owner not in (owner, EVERYONE))
            if row is None or hidden or (noun is not None and row.noun != noun):
                wanted = noun or "image_set"
                raise _MISSING[wanted](
                    f"There is no {_WORDS[wanted]} {artifact_id[:60]!r}; list yours to see their ids."
                )
            return artifact_of(row)

    def manifest(self, artifact: Artifact) -> dict[str, Any]:
        """The manifest of `artifact`; treat it as read-only, it is shared between callers.

        Raises:
            ObjectDamaged: the stored manifest is not the one that was written.
        """
        return self._read_manifest(artifact.id, artifact.manifest_sha256)

    def _load_manifest(self, artifact_id: str, sha256: str) -> dict[str, Any]:
        data = self._objects.get(manifest_key(artifact_id))
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ObjectDamaged(f"The manifest of {artifact_id} is damaged; restore it from a backup.")
        manifest: dict[str, Any] = json.loads(data)
        return manifest

    def newest(self, noun: str, kind: str, owner: str | None, tumour_class: str | None = None) -> Artifact | None:
        """The newest artifact of this kind (and class, if one is given), or None."""
        items, _ = self.list(owner, noun, kind=kind, tumour_class=tumour_class, limit=1)
        return items[0] if items else None

    def list(
        self,
        owner: str | None,
        noun: str,
        *,
        kind: str | None = None,
        tumour_class: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> tuple[list[Artifact], str | None]:
        """One page of the artifacts that `owner` may see, newest first, and the cursor of the next page."""
        query = select(ArtifactRow).where(ArtifactRow.noun == noun)
        if owner is not None:
            query = query.where(ArtifactRow.owner.in_((owner, EVERYONE)))
        wanted = ((ArtifactRow.kind, kind), (ArtifactRow.tumour_class, tumour_class))
        for column, value in wanted:
            if value is not None:
                query = query.where(column == value)
        if cursor is not None:
            query = query.where(older_than(cursor, ArtifactRow.created_at, ArtifactRow.id))
        query = query.order_by(ArtifactRow.created_at.desc(), ArtifactRow.id.desc()).limit(limit + 1)
        with self._database.reading() as session:
            rows = list(session.scalars(query))
        more = len(rows) > limit
        page = [artifact_of(row) for row in rows[:limit]]
        return page, encode_cursor(page[-1].created_at, page[-1].id) if more else None


def manifest_key(artifact_id: str) -> str:
    """The object key of an artifact's manifest."""
    return f"artifacts/{artifact_id}/manifest.json"


def artifact_of(row: ArtifactRow) -> Artifact:
    """The artifact that a row describes."""
    return Artifact(
        id=row.id,
        noun=row.noun,
        kind=row.kind,
        name=row.name,
        owner=row.owner,
        tumour_class=row.tumour_class,
        job_id=row.job_id,
        manifest_sha256=row.manifest_sha256,
        summary=row.summary,
        created_at=row.created_at,
    )


@lru_cache
def get_artifacts() -> ArtifactStore:
    """The artifact store of this process."""
    return ArtifactStore(get_database(), get_objects())
