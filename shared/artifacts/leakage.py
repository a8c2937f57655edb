"""The leakage gate: work that would measure on test images which training has seen needs a waiver, kept on record.

Preprocessing looks for Testing images that occur in Training as well and leaves what it found in the set's manifest:

    "leakage": {"checked": bool, "exact": int, "near": int, "groups": int, "kept": int, "waiver": str | None}

`kept` counts the Testing images that leak and are still in the set. Raw sets, and sets made before this was looked for,
have no such member.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, Protocol

from shared.errors import Conflict
from shared.tumour import Split

_SHOWN: Final = 5
"""Patients named in a sentence before the rest is only counted."""


class NamedSet(Protocol):
    """What is asked of an image set here."""

    @property
    def id(self) -> str:
        """Of the image set."""

    @property
    def kind(self) -> str:
        """Raw, preprocessed or synthetic."""


class KnownLeakage(Conflict):
    """Testing images of the set occur in its Training images, and nobody has waived that."""


def find_crossing_patients(images: Iterable[Mapping[str, Any]]) -> set[str]:
    """Groups (patients) that have Testing images and others; an image without a split counts as Training."""
    sides: dict[bool, set[str]] = {True: set(), False: set()}
    for image in images:
        if image.get("group"):
            sides[image.get("split") == Split.TESTING].add(image["group"])
    return sides[True] & sides[False]


def require_no_leakage(
    artifact: NamedSet, manifest: dict[str, Any], waiver: str | None, named_since: Collection[str] = ()
) -> list[str]:
    """What a report on work with this image set must say about leakage; nothing where none was found.

    Args:
        artifact: the image set that is trained on.
        manifest: its manifest.
        waiver: the reason with which the request accepts leakage, if it does.
        named_since: patients in both splits whom the manifest does not know of: people named them afterwards.

    Raises:
        KnownLeakage: leaking images are in the set, and neither the request nor the set's manifest has a waiver.
    """
    notes = _require_patients_apart(artifact, manifest, waiver, named_since)
    return notes + _require_no_copies(artifact, manifest, waiver)


def _require_patients_apart(
    artifact: NamedSet, manifest: dict[str, Any], waiver: str | None, crossing: Collection[str]
) -> list[str]:
    if not crossing:
        return []
    named = ", ".join(sorted(crossing)[:_SHOWN]) + (" ..." if len(crossing) > _SHOWN else "")
    found = f"{len(crossing)} patient group(s) of image set {artifact.id} have images in both splits ({named})"
    waived = waiver or (manifest.get("leakage") or {}).get("waiver")
    if waived is None:
        raise KnownLeakage(
            f"{found}, so accuracies on its Testing images would be too high. Preprocess the raw set "
            "again, with these groups at its images, correct them, or send `leakage_waiver` with your reason, which is "
            "recorded.",
            image_set=artifact.id,
        )
    return [f'{found}; accuracies on its Testing images are too high. Waived by "{waived}".']


def _require_no_copies(artifact: NamedSet, manifest: dict[str, Any], waiver: str | None) -> list[str]:
    leakage = manifest.get("leakage")
    if leakage is None or not leakage["checked"]:
        remedy = "preprocess it" if artifact.kind == "raw" else "preprocess its raw set again"
        return [f"Image set {artifact.id} was never checked for leakage between Training and Testing: {remedy}."]
    if not leakage["kept"]:
        return []
    found = _describe(artifact, leakage)
    if waiver is None and leakage["waiver"] is None:
        raise KnownLeakage(
            f"{found}, so accuracies on them would be too high. Preprocess again with the recipe `rigorous`, whose "
            "duplicates `across_splits` sets them aside, or send `leakage_waiver` with your reason, which is recorded.",
            image_set=artifact.id,
            leakage=leakage,
        )
    said = {"the request": waiver, "the set's preprocessing": leakage["waiver"]}
    waivers = " and ".join(f'{who}: "{words}"' for who, words in said.items() if words is not None)
    return [f"{found}; accuracies on them are too high. Waived by {waivers}."]


def note_on_test_set(real: dict[str, Any], test: dict[str, Any]) -> list[str]:
    """What a report must say where the test images come from another set than the training images.

    Args:
        real: manifest of the set that is trained on.
        test: manifest of the set that is tested on. Parents in common say nothing: a selection may have taken a scan
            into the one and its copy into the other.
    """
    if test["id"] == real["id"]:
        return []
    return [f"Leakage between the image sets {real['id']} and {test['id']}, which is tested on, was never checked."]


def _describe(artifact: NamedSet, leakage: dict[str, Any]) -> str:
    kept, groups = leakage["kept"], leakage["groups"]
    images = "1 Testing image" if kept == 1 else f"{kept} Testing images"
    parts = [f"exact: {leakage['exact']}", f"near-duplicate: {leakage['near']}"]
    if groups:
        parts.append(f"patient groups in both splits: {groups}")
    return f"{images} of image set {artifact.id} {'occurs' if kept == 1 else 'occur'} in Training ({', '.join(parts)})"
