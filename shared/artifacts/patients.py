"""Which patient (`group`) an image shows, as people have said by now: at its set, or at the raw set behind it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.artifacts.annotations import annotated_images, get_corrections
from shared.artifacts.leakage import find_crossing_patients
from shared.artifacts.lineage import find_raw_sets
from shared.artifacts.store import Artifact, ArtifactStore
from shared.artifacts.volumes import volume_of
from shared.database import Database


@dataclass(frozen=True)
class RawImages:
    """The images of a raw set as they are listed, with corrections, and the names of those whose patient is one."""

    images: list[dict[str, Any]]
    corrected: Collection[str]


def corrected_images(
    artifacts: ArtifactStore, database: Database, image_set: Artifact, manifest: dict[str, Any]
) -> list[dict[str, Any]]:
    """The images of `manifest`, that of `image_set`, with people's corrections and their patients as named today."""
    raw_sets = find_raw_sets(artifacts, manifest["parents"], image_set.owner)
    behind = [_images_of(database, raw, artifacts.manifest(raw)["images"]) for raw in raw_sets]
    own = _images_of(database, image_set, manifest["images"])
    return lay_patients(own.images, own.corrected, behind)


def lay_patients(
    images: list[dict[str, Any]], named_here: Collection[str], behind: Sequence[RawImages]
) -> list[dict[str, Any]]:
    """`images` with the patients that are named at their sources today.

    What somebody named at an image of the set itself counts before that, and what the preparation wrote down counts
    where nobody names a patient now.

    Args:
        images: of the set, with corrections.
        named_here: names of those whose patient is such a correction.
        behind: the raw sets that it was made from, the nearest first. Corrections at a nearer one count more; without
            them the farthest does, as one made from another, by leaving images out, repeats what that one said then.
    """
    said = [image for raw in behind for image in raw.images if image["name"] in raw.corrected]
    said += [image for raw in reversed(behind) for image in raw.images]
    named: dict[str, str] = {}
    for image in said:
        if image.get("group") not in (None, volume_of(image)):
            named.setdefault(image["name"], image["group"])
    found = []
    for image in images:
        source = image.get("source") or image["name"]
        patient = image.get("group") if image["name"] in named_here else named.get(source)
        found.append(image if patient in (None, image.get("group")) else {**image, "group": patient})
    return found


def _images_of(database: Database, artifact: Artifact, images: list[dict[str, Any]]) -> RawImages:
    corrections = get_corrections(database, artifact)
    corrected = {name for name, (_, group) in corrections.items() if group is not None}
    return RawImages(annotated_images(database, artifact, images), corrected)


def find_patients_named_since(images: Iterable[Mapping[str, Any]], manifest: Mapping[str, Any]) -> list[str]:
    """Patients in both splits of `images`, of whom the preparation of their set did not know.

    Args:
        images: those of `manifest`, from `corrected_images`.
        manifest: the set's. One whose preparation found no patient in both splits knows of none, whatever its images
            say: they may have been corrected when the set was made of another.
    """
    knows = (manifest.get("leakage") or {}).get("groups")
    known = find_crossing_patients(manifest["images"]) if knows else set()
    return sorted(find_crossing_patients(images) - known)
