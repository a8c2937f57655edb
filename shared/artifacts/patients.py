"""Which patient (`group`) an image shows, as people have said by now: at its set, or at the raw set behind it."""

from contextlib import suppress
from typing import Any

from shared.artifacts.annotations import annotated_images
from shared.artifacts.leakage import find_crossing_patients
from shared.artifacts.store import Artifact, ArtifactStore
from shared.database import Database
from shared.errors import NotFound


def corrected_images(
    artifacts: ArtifactStore, database: Database, image_set: Artifact, manifest: dict[str, Any]
) -> list[dict[str, Any]]:
    """The images of `manifest`, that of `image_set`, with people's corrections and their patients as named today.

    What is named at an image of the set counts before what is named at its source in the raw set, and that before what
    the manifest says, which the preparation wrote down.
    """
    named: dict[str | None, str] = {}
    for raw in _raw_sets(artifacts, image_set, manifest):
        images = annotated_images(database, raw, artifacts.manifest(raw)["images"])
        named |= {image["name"]: image["group"] for image in images if image.get("group")}
    found = []
    for was, now in zip(manifest["images"], annotated_images(database, image_set, manifest["images"]), strict=True):
        patient = named.get(now.get("source"), was.get("group"))
        is_named_here = now.get("group") != was.get("group")
        found.append(now if is_named_here or patient == was.get("group") else {**now, "group": patient})
    return found


def find_patients_named_since(
    artifacts: ArtifactStore, database: Database, image_set: Artifact, manifest: dict[str, Any]
) -> list[str]:
    """Patients in both splits of whom the set's own preparation did not know, since people named them afterwards."""
    corrected = corrected_images(artifacts, database, image_set, manifest)
    return sorted(find_crossing_patients(corrected) - find_crossing_patients(manifest["images"]))


def _raw_sets(artifacts: ArtifactStore, image_set: Artifact, manifest: dict[str, Any]) -> list[Artifact]:
    found = []
    for parent in manifest["parents"]:
        with suppress(NotFound):
            found.append(artifacts.get(parent, image_set.owner))
    return [each for each in found if each.noun == "image_set" and each.kind == "raw"]
