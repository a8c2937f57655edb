"""Handing in a finished job over a database that fails at the last moment: what the job says it made exists."""

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.exc import OperationalError

from shared.artifacts.store import ArtifactStore, DraftArtifact
from shared.database import Database
from shared.jobs.runner import Execution, run_shard
from shared.jobs.store import JobStore, NewJob

pytestmark = pytest.mark.services


def make_two(_: Execution) -> list[DraftArtifact]:
    return [DraftArtifact("report", "analysis", name, {"report": {"name": name}}) for name in ("one", "two")]


def test_artifacts_exist_although_their_first_commit_failed(
    jobs: JobStore, artifacts: ArtifactStore, database: Database
) -> None:
    failed: list[str] = []

    def lose_first(connection: Connection) -> None:
        rows = connection.exec_driver_sql("SELECT id FROM artifacts").all()
        if rows and not failed:
            failed.extend(row[0] for row in rows)
            raise OperationalError("COMMIT", {}, Exception("disk I/O error"))

    event.listen(database.engine, "commit", lose_first)
    job_id, _ = jobs.create(NewJob("evaluate", "team", {}))
    run_shard(job_id, 0, finish=make_two)
    view = jobs.get(job_id, "team")
    assert view["status"] == "succeeded"
    made = [artifacts.get(made["id"], "team", "report") for made in view["artifacts"]]
    assert sorted(artifact.id for artifact in made) == sorted(failed)
    assert [artifacts.manifest(artifact)["report"] for artifact in made] == [{"name": "one"}, {"name": "two"}]
    assert all(artifact.created_at > 0.0 for artifact in made)
