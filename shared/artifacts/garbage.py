"""The garbage collector: removes objects that no artifact and no job needs, left by work that was killed midway.

Only objects older than a day are touched, so that work in progress, whose results no row names yet, is safe.
"""

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import select

from shared.artifacts.store import ArtifactStore, artifact_of
from shared.artifacts.tables import ArtifactRow
from shared.database import Database
from shared.jobs.tables import JobFileRow, JobRow, ShardRow
from shared.objects import ObjectStore

MIN_AGE_S = 24 * 3600.0
_SHA256 = re.compile(r"[0-9a-f]{64}")


def collect_garbage(
    database: Database, objects: ObjectStore, artifacts: ArtifactStore, min_age_s: float = MIN_AGE_S
) -> int:
    """Remove unneeded objects older than `min_age_s` seconds; returns how many were removed.

    Needed are: every blob that a manifest, a job, one of its shards or files, or a pointer under `weights/` names, and
    every manifest whose artifact exists. The candidates are listed first, so that what is stored in the meantime is
    never one of them.
    """
    old = [key for prefix in ("blobs/", "artifacts/") for key in objects.list_older(prefix, min_age_s)]
    if not old:
        return 0
    needed, artifact_ids = _needed(database, objects, artifacts)
    removed = 0
    for key in old:
        folder, name = key.split("/")[0], key.split("/")[-1]
        keep = name in needed if folder == "blobs" else key.split("/")[1] in artifact_ids
        # An upload may have written the same bytes again since the listing; its row is about to name them.
        if not keep and objects.age_s(key) > min_age_s:
            objects.delete(key)
            removed += 1
    return removed


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
