"""Volumes: the slices of one NIfTI file, or of the DICOM files of one series, are of one patient."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any


def volume_of(image: Mapping[str, Any]) -> str | None:
    """The volume that an image of a raw set is a slice of; None for a picture of its own.

    A NIfTI file gives its slices names that begin with its own; DICOM files of one series were told at the upload.
    """
    cut = image.get("parameters") or {}
    if cut.get("format") == "NIFTI" and cut.get("n_slices", 1) > 1:
        return str(image["name"]).removesuffix(f".{cut['axis']}-{cut['slice']:03d}.png")
    volume: str | None = cut.get("volume")
    return volume


def name_patients(images: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All images of a set, where slices without a `group` (a patient) have that of the slices of their volume.

    A volume of which nobody named a patient, or of which slices bear two names, stands for one itself; sets made of
    others may have written that down, which names nobody. The very same images come back where none is a slice of a
    volume that has another in the set.
    """
    slices: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for image in images:
        volume = volume_of(image)
        if volume is not None:
            slices[volume].append(image)
    patients: dict[str | None, str] = {}
    for volume, members in slices.items():
        named = {image["group"] for image in members if image.get("group")} - {volume}
        if len(members) > 1:
            patients[volume] = named.pop() if len(named) == 1 else volume
    if not patients:
        return images
    found = []
    for image in images:
        volume = volume_of(image)
        is_named = image.get("group") not in (None, "", volume)
        found.append(image if is_named or volume not in patients else {**image, "group": patients[volume]})
    return found
