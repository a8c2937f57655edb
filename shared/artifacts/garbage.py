"""The garbage collector: removes objects that no artifact and no job needs, left by work that was killed midway.

Only objects are touched that are older than a day and older than every running job, so that work in progress, whose
results no row names yet, is safe.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import func, select

from shared.artifacts.store import ArtifactStore, artifact_of
from shared.artifacts.tables import ArtifactRow
from shared.database import Database, now_s
from shared.jobs.states import JobStatus
from shared.jobs.tables import JobFileRow, JobRow, ShardRow
from shared.objects import ObjectStore

MIN_AGE_S = 24 * 3600.0
CLOCKS_APART_S = 300.0
"""How far the clocks of the database and of the object store may lie apart, seconds."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


def collect_garbage(
    database: Database, objects: ObjectStore, artifacts: ArtifactStore, min_age_s: float = MIN_AGE_S
) -> int:
    """Remove unneeded objects older than `min_age_s` seconds and than all running jobs; returns how many were removed.

    Needed are: every blob that a manifest, a job, one of its shards or files, or a pointer under `weights/` names;
    every manifest whose artifact exists; features kept of an image and of weights that are both named. The candidates
    are listed first, so that what is stored in the meantime is never one of them.
    """
    min_age_s = max(min_age_s, _oldest_run_s(database))
    old = [key for prefix in ("blobs/", "artifacts/", "features/") for key in objects.list_older(prefix, min_age_s)]
    if not old:
        return 0
    needed, artifact_ids = _needed(database, objects, artifacts)
    removed = 0
    for key in old:
        keep = _is_needed(key, needed, artifact_ids)
        # An upload may have written the same bytes again since the listing; its row is about to name them.
        if not keep and objects.age_s(key) > min_age_s:
            objects.delete(key)
            removed += 1
    return removed


def _is_needed(key: str, needed: set[str], artifact_ids: set[str]) -> bool:
    folder, first, *_, name = key.split("/")
    if folder == "blobs":
        return name in needed
    if folder == "features":  # features/<hash of the weights>/<reading>/<hash of the image>
        return first in needed and name in needed
    return first in artifact_ids


def _oldest_run_s(database: Database) -> float:
    """How long ago the oldest running job started, seconds, and a margin; minus infinity if none runs."""
    running = select(func.min(JobRow.started_at)).where(JobRow.status == JobStatus.RUNNING)
    with database.reading() as session:
        started_at, now = session.scalar(running), session.scalar(select(now_s()))
    return -math.inf if started_at is None or now is None else float(now) - started_at + CLOCKS_APART_S


def _needed(database: Database, objects: ObjectStore, artifacts: ArtifactStore) -> tuple[set[str], set[str]]:
    """The hashes that something names, and the ids of all artifacts."""
    with database.reading() as session:
        rows = list(session.scalars(select(ArtifactRow)))
        shards = session.execute(select(ShardRow.result, ShardRow.spec, ShardRow.resume_sha256))
        named = {sha256 for row in shards for value in row for sha256 in _hashes(value)}
        named |= {sha256 for request in session.scalars(select(JobRow.request)) for sha256 in _hashes(request)}
        named |= set(session.scalars(select(JobFileRow.sha256)))
    for row in rows:
        named |= set(_hashes(artifacts.manifest(artifact_of(row))))
    for key in objects.list("weights/"):
        named |= set(_SHA256.findall(objects.get(key).decode()))
    return named, {row.id for row in rows}


def _hashes(value: Any) -> Iterator[str]:
    """Every SHA-256 in a JSON value, wherever it stands."""
    if isinstance(value, str):
        if _SHA256.fullmatch(value):
            yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _hashes(item)
    elif isinstance(value, list):
        for item in value:
            yield from _hashes(item)
