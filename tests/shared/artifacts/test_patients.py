"""Patients named after the preparation: at a prepared set, or at the raw set that it was made from."""

from typing import Any

import pytest

from shared.artifacts.annotations import correct_images
from shared.artifacts.patients import corrected_images, find_patients_named_since
from shared.artifacts.store import Artifact, ArtifactStore, DraftArtifact
from shared.database import Database

pytestmark = pytest.mark.services


@pytest.fixture
def raw(artifacts: ArtifactStore) -> Artifact:
    images = [
        {"name": "a", "split": "Training", "group": "series 1"},
        {"name": "b", "split": "Testing", "group": "series 2"},
        {"name": "c", "split": "Testing"},
    ]
    return artifacts.create(DraftArtifact("image_set", "raw", "raw", {"images": images}), owner="team")


@pytest.fixture
def prepared(artifacts: ArtifactStore, raw: Artifact) -> Artifact:
    """Image c is a copy of one that somebody named p0, as preparations write it down."""
    groups = {"a": "series 1", "b": "series 2", "c": "p0"}
    images = [
        {**image, "name": f"{image['name']}.png", "source": image["name"], "group": groups[image["name"]]}
        for image in artifacts.manifest(raw)["images"]
    ]
    draft = DraftArtifact("image_set", "preprocessed", "prepared", {"images": images}, parents=["set-gone", raw.id])
    return artifacts.create(draft, owner="team")


def groups_of(artifacts: ArtifactStore, database: Database, image_set: Artifact) -> list[Any]:
    images = corrected_images(artifacts, database, image_set, artifacts.manifest(image_set))
    return [image.get("group") for image in images]


def test_what_is_said_last_and_nearest_counts(
    artifacts: ArtifactStore, database: Database, raw: Artifact, prepared: Artifact
) -> None:
    assert groups_of(artifacts, database, raw) == ["series 1", "series 2", None]
    assert groups_of(artifacts, database, prepared) == ["series 1", "series 2", "p0"]
    correct_images(database, raw, {"a": {"group": "p1"}, "b": {"group": "p1"}}, by="key")
    assert groups_of(artifacts, database, raw) == ["p1", "p1", None]
    assert groups_of(artifacts, database, prepared) == ["p1", "p1", "p0"]
    correct_images(database, prepared, {"b.png": {"group": "p2"}, "c.png": {"group": "p3"}}, by="key")
    assert groups_of(artifacts, database, prepared) == ["p1", "p2", "p3"]
    correct_images(database, prepared, {"b.png": {"group": None}, "c.png": {"group": None}}, by="key")
    assert groups_of(artifacts, database, prepared) == ["p1", "p1", "p0"]


def test_two_series_named_as_one_patient_cross_the_splits(
    artifacts: ArtifactStore, database: Database, raw: Artifact, prepared: Artifact
) -> None:
    manifest = artifacts.manifest(prepared)
    assert find_patients_named_since(artifacts, database, prepared, manifest) == []
    correct_images(database, raw, {"a": {"group": "p1"}, "b": {"group": "p1"}}, by="key")
    assert find_patients_named_since(artifacts, database, prepared, manifest) == ["p1"]
    assert find_patients_named_since(artifacts, database, raw, artifacts.manifest(raw)) == ["p1"]
