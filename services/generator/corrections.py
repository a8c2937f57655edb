"""What people had corrected about the images of a set when a training was asked for.

Corrections can change at any time, and a training must choose the same images however often it goes on; so those that
count are kept as an object, whose hash its request names.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from shared.objects import get_objects

_COUNTING: Final = ("plane", "group")
"""Members of an image that decide which are trained on and which are held out."""


def keep_corrections(images: list[dict[str, Any]], corrected: list[dict[str, Any]]) -> str | None:
    """Store what is corrected about `images`; its hash, or None where nothing is.

    Args:
        images: members of a set's manifest.
        corrected: all images of the set as they are now, from `corrected_images`.
    """
    by_name = {image["name"]: image for image in corrected}
    pairs = [(was, by_name[was["name"]]) for was in images]
    changed = {
        was["name"]: {member: now[member] for member in _COUNTING if now.get(member) != was.get(member)}
        for was, now in pairs
        if any(now.get(member) != was.get(member) for member in _COUNTING)
    }
    return get_objects().put_blob(json.dumps(changed, sort_keys=True).encode()) if changed else None


def apply_corrections(images: Sequence[dict[str, Any]], sha256: str | None) -> list[dict[str, Any]]:
    """`images` with the corrections that `keep_corrections` stored under this hash; as they are if it is None."""
    if sha256 is None:
        return list(images)
    changed: dict[str, dict[str, Any]] = json.loads(get_objects().get_blob(sha256))
    return [{**image, **changed.get(image["name"], {})} for image in images]
