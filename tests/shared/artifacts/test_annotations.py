"""Corrections lie over the images of a manifest, which stays as it was, on both databases."""

import threading
from typing import Any

import pytest

from shared.artifacts.annotations import annotated_images, correct_images, list_annotations
from shared.artifacts.store import Artifact, ArtifactStore, DraftArtifact
from shared.cursors import CursorInvalid, encode_cursor
from shared.database import Database

pytestmark = pytest.mark.services

NAMES = ["glioma/1.png", "glioma/2.png", "glioma/é.png"]


@pytest.fixture
def image_set(artifacts: ArtifactStore) -> Artifact:
    return keep_set(artifacts)


def keep_set(artifacts: ArtifactStore) -> Artifact:
    images = [{"name": name, "plane": "coronal", "plane_confidence": 0.7, "plane_source": "hdbscan"} for name in NAMES]
    return artifacts.create(DraftArtifact("image_set", "preprocessed", "scans", {"images": images}), owner="team")


def images_of(artifacts: ArtifactStore, artifact: Artifact) -> list[dict[str, Any]]:
    images: list[dict[str, Any]] = artifacts.manifest(artifact)["images"]
    return images


def test_without_corrections_the_images_are_the_very_same(
    database: Database, artifacts: ArtifactStore, image_set: Artifact
) -> None:
    images = images_of(artifacts, image_set)
    assert annotated_images(database, image_set, images) is images


def test_a_correction_shows_and_the_manifest_stays(
    database: Database, artifacts: ArtifactStore, image_set: Artifact
) -> None:
    images = images_of(artifacts, image_set)
    before = [dict(image) for image in images]
    changes = {NAMES[0]: {"plane": "axial"}, NAMES[2]: {"group": "p1"}}
    assert correct_images(database, image_set, changes, by="key") == 2
    first, second, third = annotated_images(database, image_set, images)
    assert first == {**before[0], "plane": "axial", "plane_source": "user", "plane_confidence": None}
    assert second == before[1]
    assert third == {**before[2], "group": "p1"}  # its plane is still the set's own
    assert images == before
    other = keep_set(artifacts)
    assert annotated_images(database, other, images_of(artifacts, other)) == before


def test_only_changes_are_counted_and_null_takes_back(
    database: Database, artifacts: ArtifactStore, image_set: Artifact
) -> None:
    name = NAMES[0]
    assert correct_images(database, image_set, {name: {"plane": "axial", "group": "p1"}}, by="a") == 1
    assert correct_images(database, image_set, {name: {"plane": "axial"}}, by="b") == 0
    assert list_annotations(database, image_set)[0][0].key_id == "a"
    assert correct_images(database, image_set, {name: {"plane": None}, NAMES[1]: {"plane": None}}, by="b") == 1
    (row,), _ = list_annotations(database, image_set)
    assert (row.plane, row.patient_group, row.key_id) == (None, "p1", "b")
    assert correct_images(database, image_set, {name: {"group": None}}, by="b") == 1
    assert list_annotations(database, image_set) == ([], None)


def test_pages_join_to_the_whole_list(database: Database, image_set: Artifact) -> None:
    correct_images(database, image_set, {name: {"plane": "axial"} for name in NAMES}, by="key")
    names, cursor = [], None
    while True:
        page, cursor = list_annotations(database, image_set, cursor=cursor, limit=1)
        names += [row.name for row in page]
        if cursor is None:
            break
    assert sorted(names) == sorted(NAMES)
    for forged in ("\x00", "\ud800", "a\nb"):
        with pytest.raises(CursorInvalid):
            list_annotations(database, image_set, cursor=encode_cursor(0.0, forged))


def test_two_people_at_once_lose_nothing(database: Database, image_set: Artifact) -> None:
    changed: list[int] = []

    def correct(member: str, values: list[str]) -> None:
        changed.extend(correct_images(database, image_set, {NAMES[0]: {member: value}}, by=member) for value in values)

    people = [
        threading.Thread(target=correct, args=("plane", ["axial", "coronal"] * 10)),
        threading.Thread(target=correct, args=("group", ["p1", "p2"] * 10)),
    ]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert changed == [1] * 40
    (row,), _ = list_annotations(database, image_set)
    assert (row.plane, row.patient_group) == ("coronal", "p2")
