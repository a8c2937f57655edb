"""The garbage collector removes what nothing names, and nothing else."""

import pytest

from shared.artifacts.garbage import collect_garbage
from shared.artifacts.store import ArtifactStore, DraftArtifact
from shared.database import Database
from shared.errors import ObjectNotFound
from shared.jobs.claims import Claims
from shared.jobs.store import JobStore, NewJob
from shared.objects import ObjectStore

pytestmark = pytest.mark.services


def test_only_what_nothing_names_is_removed(
    database: Database, objects: ObjectStore, artifacts: ArtifactStore, jobs: JobStore
) -> None:
    kept, debris, drawn, bundle, weights = (objects.put_blob(name) for name in (b"a", b"b", b"c", b"d", b"e"))
    objects.put("weights/inception.json", f'{{"sha256": "{weights}"}}'.encode())
    draft = DraftArtifact("image_set", "raw", "scans", {"images": [{"name": "1.png", "sha256": kept}]})
    artifact = artifacts.create(draft, owner="team")
    unborn = artifacts.write_manifest(draft, owner="team").id
    job_id, _ = jobs.create(NewJob("diffusion.sample", "team", {}, shards=[{}, {}]))
    claims = Claims(database, 30.0)
    first, second = claims.claim(job_id, 0), claims.claim(job_id, 1)
    assert first is not None
    assert second is not None
    claims.finish_shard(first, {"images": [{"sha256": drawn}]})
    claims.save_resume(second, bundle)

    assert collect_garbage(database, objects, artifacts) == 0  # everything is younger than a day
    assert collect_garbage(database, objects, artifacts, min_age_s=-60.0) == 2

    assert not objects.has_blob(debris)
    assert all(objects.has_blob(sha256) for sha256 in (kept, drawn, bundle, weights))
    assert artifacts.manifest(artifact)["images"][0]["sha256"] == kept
    with pytest.raises(ObjectNotFound):
        objects.get(f"artifacts/{unborn}/manifest.json")
