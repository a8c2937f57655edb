"""Patients as they are named today: at a prepared set, at the raw set behind it, or by what is a slice of what."""

from typing import Any

import pytest

from shared.artifacts.annotations import annotated_images, correct_images
from shared.artifacts.patients import corrected_images, find_patients_named_since
from shared.artifacts.store import Artifact, ArtifactStore, DraftArtifact
from shared.artifacts.volumes import name_patients
from shared.database import Database

pytestmark = pytest.mark.services

SERIES = [
    ("a", "Training", "series 1"),
    ("b", "Testing", "series 2"),
    ("c", "Testing", None),
    ("d", "Training", "series 2"),
]


@pytest.fixture
def raw(artifacts: ArtifactStore) -> Artifact:
    """A slice of series 1, two of series 2 in both splits, a picture of its own."""
    images = [
        {"name": name, "split": split, "parameters": {"format": "DICOM", **({"volume": series} if series else {})}}
        for name, split, series in SERIES
    ]
    return artifacts.create(DraftArtifact("image_set", "raw", "raw", {"images": images}), owner="team")


@pytest.fixture
def prepared(artifacts: ArtifactStore, raw: Artifact) -> Artifact:
    """Of the first three; c is a copy of one that somebody named p0, as preparations write it down."""
    groups = {"a": None, "b": "series 2", "c": "p0"}
    images = [
        {"name": f"{name}.png", "split": split, "source": name, "group": groups[name]} for name, split, _ in SERIES[:3]
    ]
    body = {"images": images, "leakage": {"checked": True, "groups": 0, "kept": 0, "waiver": None}}
    return artifacts.create(
        DraftArtifact("image_set", "preprocessed", "prepared", body, parents=["set-gone", raw.id]), owner="team"
    )


def groups_of(artifacts: ArtifactStore, database: Database, image_set: Artifact) -> list[Any]:
    images = corrected_images(artifacts, database, image_set, artifacts.manifest(image_set))
    return [image.get("group") for image in images]


def named_since(artifacts: ArtifactStore, database: Database, image_set: Artifact) -> list[str]:
    manifest = artifacts.manifest(image_set)
    return find_patients_named_since(corrected_images(artifacts, database, image_set, manifest), manifest)


def test_slices_of_a_volume_have_the_patient_of_one_of_them() -> None:
    images = [{"name": f"p.nii.axial-00{k}.png", "parameters": {"format": "NIFTI", "axis": "axial", "slice": k,
               "n_slices": 9}} for k in range(3)]  # fmt: skip
    alone = [{"name": "q.nii.axial-001.png", "parameters": images[1]["parameters"]}, {"name": "x.png"}]
    assert [image.get("group") for image in name_patients(images + alone)] == ["p.nii"] * 3 + [None] * 2
    assert name_patients(alone) is alone
    named = [images[0], {**images[1], "group": "p1"}, images[2]]
    assert [image["group"] for image in name_patients(named)] == ["p1"] * 3
    two = [*named[:2], {**images[2], "group": "p2"}]
    assert [image["group"] for image in name_patients(two)] == ["p.nii", "p1", "p2"]
    written_down = [named[1], {**images[2], "group": "p.nii"}]
    assert [image["group"] for image in name_patients(written_down)] == ["p1", "p1"]


def test_what_is_said_last_and_nearest_counts(
    artifacts: ArtifactStore, database: Database, raw: Artifact, prepared: Artifact
) -> None:
    assert groups_of(artifacts, database, raw) == [None, "series 2", None, "series 2"]
    assert groups_of(artifacts, database, prepared) == [None, "series 2", "p0"]
    correct_images(database, raw, {"a": {"group": "p1"}, "d": {"group": "p1"}}, by="key")
    assert groups_of(artifacts, database, raw) == ["p1", "p1", None, "p1"]
    assert groups_of(artifacts, database, prepared) == ["p1", "p1", "p0"]
    correct_images(database, prepared, {"b.png": {"group": "series 2"}, "c.png": {"group": "p3"}}, by="key")
    assert groups_of(artifacts, database, prepared) == ["p1", "series 2", "p3"]
    correct_images(database, prepared, {"b.png": {"group": None}, "c.png": {"group": None}}, by="key")
    assert groups_of(artifacts, database, prepared) == ["p1", "p1", "p0"]


def test_patients_in_both_splits_are_found_whoever_named_them(
    artifacts: ArtifactStore, database: Database, raw: Artifact, prepared: Artifact
) -> None:
    """By the series of a raw set; by a name given later; in a set that leaves images out, which writes names down."""
    assert named_since(artifacts, database, raw) == ["series 2"]
    assert named_since(artifacts, database, prepared) == []
    correct_images(database, raw, {"a": {"group": "p1"}, "b": {"group": "p1"}}, by="key")
    assert named_since(artifacts, database, prepared) == named_since(artifacts, database, raw) == ["p1"]
    manifest = artifacts.manifest(prepared)
    images = annotated_images(database, prepared, manifest["images"])
    body = {"images": images, "leakage": manifest["leakage"]}
    fewer = DraftArtifact("image_set", "preprocessed", "fewer", body, parents=[prepared.id])
    assert named_since(artifacts, database, artifacts.create(fewer, owner="team")) == ["p1"]
    correct_images(database, prepared, {"a.png": {"group": "p5"}, "b.png": {"group": "p5"}}, by="key")
    body["images"] = annotated_images(database, prepared, manifest["images"])
    fewer = DraftArtifact("image_set", "preprocessed", "fewer", body, parents=["set-gone"])
    assert named_since(artifacts, database, artifacts.create(fewer, owner="team")) == ["p5"]


def test_a_raw_set_that_leaves_images_out_of_another(artifacts: ArtifactStore, database: Database) -> None:
    """It repeats what the other said then; what is corrected at it counts before what the other says today."""

    def keep(kind: str, groups: list[str | None], parents: list[str]) -> Artifact:
        names = ["a", "b", "c"]
        images = [{"name": name, "group": group} for name, group in zip(names, groups, strict=True)]
        if kind == "preprocessed":
            images = [{**image, "name": f"{image['name']}.png", "source": image["name"]} for image in images]
        return artifacts.create(
            DraftArtifact("image_set", kind, "set", {"images": images}, parents=parents), owner="team"
        )

    far = keep("raw", [None] * 3, [])
    correct_images(database, far, {name: {"group": "p1"} for name in "abc"}, by="key")
    near = keep("raw", ["p1"] * 3, [far.id])
    correct_images(database, near, {"a": {"group": "p2"}}, by="key")
    prepared = keep("preprocessed", ["p2", "p1", "p1"], [near.id])
    assert groups_of(artifacts, database, prepared) == ["p2", "p1", "p1"]
    correct_images(database, far, {"b": {"group": "p3"}}, by="key")
    assert groups_of(artifacts, database, prepared) == groups_of(artifacts, database, near) == ["p2", "p3", "p1"]


def test_a_preparation_that_knew_of_a_patient_is_not_told_again(artifacts: ArtifactStore, database: Database) -> None:
    images = [{"name": split, "split": split, "group": "p1"} for split in ("Training", "Testing")]
    body = {"images": images, "leakage": {"checked": True, "groups": 1, "kept": 1, "waiver": "a reason"}}
    known = artifacts.create(DraftArtifact("image_set", "preprocessed", "known", body), owner="team")
    assert named_since(artifacts, database, known) == []
