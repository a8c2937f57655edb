"""Which patient (`group`) an image shows, as people have said by now: at its set, or at the raw set behind it."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from shared.artifacts.annotations import annotated_images, get_corrections
from shared.artifacts.leakage import find_crossing_patients
from shared.artifacts.lineage import find_raw_sets
from shared.artifacts.store import Artifact, ArtifactStore
from shared.artifacts.volumes import volume_of
from shared.database import Database


def corrected_images(
    artifacts: ArtifactStore, database: Database, image_set: Artifact, manifest: dict[str, Any]
) -> list[dict[str, Any]]:
    """The images of `manifest`, that of `image_set`, with people's corrections and their patients as named today."""
    raw_images: list[dict[str, Any]] = []
    for raw in find_raw_sets(artifacts, manifest["parents"], image_set.owner):
        raw_images += annotated_images(database, raw, artifacts.manifest(raw)["images"])
    named_here = {name for name, (_, group) in get_corrections(database, image_set).items() if group is not None}
    return lay_patients(annotated_images(database, image_set, manifest["images"]), named_here, raw_images)


def lay_patients(
    images: list[dict[str, Any]], named_here: Collection[str], raw_images: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """`images` with the patients that are named at their sources today.

    What somebody named at an image of the set itself counts before that, and what the preparation wrote down counts
    where nobody names a patient now.

    Args:
        images: of the set, with corrections.
        named_here: names of those whose patient is such a correction.
        raw_images: of the raw sets behind it, with corrections.
    """
    told = [image for image in raw_images if image.get("group") not in (None, volume_of(image))]
    named = {image["name"]: image["group"] for image in told}
    found = []
    for image in images:
        patient = image.get("group") if image["name"] in named_here else named.get(image.get("source") or "")
        found.append(image if patient in (None, image.get("group")) else {**image, "group": patient})
    return found


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
