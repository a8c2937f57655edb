"""The garbage collector removes what nothing names, and nothing else."""

import pytest
from sqlalchemy import update

from shared.artifacts.garbage import CLOCKS_APART_S, collect_garbage
from shared.artifacts.store import ArtifactStore, DraftArtifact
from shared.database import Database, now_s
from shared.errors import ObjectNotFound
from shared.jobs.claims import Claims
from shared.jobs.store import JobStore, NewJob
from shared.jobs.tables import JobRow
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
    set_start(database, CLOCKS_APART_S + 60.0)
    assert collect_garbage(database, objects, artifacts, min_age_s=-60.0) == 2

    assert not objects.has_blob(debris)
    assert all(objects.has_blob(sha256) for sha256 in (kept, drawn, bundle, weights))
    assert artifacts.manifest(artifact)["images"][0]["sha256"] == kept
    with pytest.raises(ObjectNotFound):
        objects.get(f"artifacts/{unborn}/manifest.json")


def test_features_live_as_long_as_their_image_and_their_weights(
    database: Database, objects: ObjectStore, artifacts: ArtifactStore
) -> None:
    image, weights, lost = (objects.put_blob(name) for name in (b"image", b"weights", b"lost"))
    objects.put("weights/inception.json", f'{{"sha256": "{weights}"}}'.encode())
    draft = DraftArtifact("image_set", "raw", "scans", {"images": [{"name": "1.png", "sha256": image}]})
    artifacts.create(draft, owner="team")
    kept = f"features/{weights}/inception-1-16x16/{image}"
    debris = [f"features/{weights}/inception-1-16x16/{lost}", f"features/{lost}/inception-1-16x16/{image}"]
    for key in (kept, *debris):
        objects.put(key, b"features")
    assert collect_garbage(database, objects, artifacts) == 0  # everything is younger than a day
    assert collect_garbage(database, objects, artifacts, min_age_s=-60.0) == 3
    assert list(objects.list("features/")) == [kept]
    assert not objects.has_blob(lost)


def set_start(database: Database, from_now_s: float) -> None:
    """Move the start of all jobs, so that what is stored now is older or younger than they."""
    with database.writing() as session:
        session.execute(update(JobRow).values(started_at=now_s() + from_now_s))


def test_what_a_running_job_may_have_stored_is_spared_however_old_it_is(
    database: Database, objects: ObjectStore, artifacts: ArtifactStore, jobs: JobStore
) -> None:
    job_id, _ = jobs.create(NewJob("diffusion.sample", "team", {}, shards=[{}]))
    claims = Claims(database, 30.0)
    claim = claims.claim(job_id, 0)
    assert claim is not None
    drawn = objects.put_blob(b"an image that its shard names at its end")
    set_start(database, -60.0)
    assert collect_garbage(database, objects, artifacts, min_age_s=-60.0) == 0
    assert objects.has_blob(drawn)
    claims.fail(claim, "internal", "It broke.")
    assert collect_garbage(database, objects, artifacts, min_age_s=-60.0) == 1
