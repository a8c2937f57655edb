"""Files of an upload after they were checked, as manifests, answers and errors show them."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from gateway.upload.errors import BadFiles, NamesCollide, TooManyEntries
from gateway.upload.images import CheckedImage
from gateway.upload.names import Place
from gateway.upload.scans import ConvertedImage
from gateway.upload.spool import SpooledFile
from shared.errors import SynthMRIError

_NAMED_FILES: Final = 20


@dataclass(frozen=True)
class Accepted:
    """An image of the set: a file as it came, or a picture made of a scan."""

    spool: Path
    file: SpooledFile
    place: Place
    image: CheckedImage | ConvertedImage

    @classmethod
    def picture(cls, place: Place, image: ConvertedImage) -> "Accepted":
        """A picture of the scan at `place`, under the name of that scan and its own suffix."""
        return cls(Path(image.spool), image.file, replace(place, name=place.name + image.suffix), image)


@dataclass(frozen=True)
class Refused:
    """A file that cannot."""

    name: str
    error: type[SynthMRIError]
    detail: str

    def view(self) -> dict[str, str]:
        """The file as answers name it."""
        return {"name": self.name, "code": self.error(self.detail).code, "detail": self.detail}


def refusal_of(bad: Sequence[Refused], n_good: int) -> SynthMRIError:
    """One error for all bad files: of their own class if they share one, naming the first twenty."""
    shared = {item.error for item in bad}
    error = shared.pop() if len(shared) == 1 else BadFiles
    first = bad[0]
    detail = f"{first.name!r}: {first.detail}"
    if len(bad) > 1 or n_good:
        detail = (
            f"{len(bad)} of {len(bad) + n_good} files cannot be used, so nothing was stored; mend or remove them, or "
            f"upload with ?skip_invalid=true. The first is {detail}"
        )
    extra: dict[str, Any] = {"n_bad": len(bad), "files": [item.view() for item in bad[:_NAMED_FILES]]}
    return error(detail, **extra)


def summary_of(good: Sequence[Accepted], n_skipped: int) -> dict[str, Any]:
    """What lists show of the set."""
    classes = Counter(str(item.place.tumour_class) for item in good)
    splits = Counter(str(item.place.split) for item in good if item.place.split)
    return {"n_images": len(good), "classes": dict(classes), "splits": dict(splits), "n_skipped": n_skipped}


def check_names(good: Sequence[Accepted], max_entries: int) -> None:
    """Pictures of scans have names of their own, which must not be those of other files.

    Raises:
        TooManyEntries, NamesCollide: see each.
    """
    if len(good) > max_entries:
        raise TooManyEntries(
            f"The volumes have {len(good)} slices, more than {max_entries} images; send fewer at a time."
        )
    seen: set[str] = set()
    for item in good:
        if item.place.name.casefold() in seen:
            raise NamesCollide(f"Two images would be called {item.place.name!r} (case aside); rename a file.")
        seen.add(item.place.name.casefold())


def warnings_of(good: Sequence[Accepted]) -> list[dict[str, Any]]:
    """What the sender should know of accepted images, one entry for each kind, naming the first twenty."""
    names: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    for item in good:
        for warning in item.image.warnings:
            names.setdefault(warning.code, []).append(item.place.name)
            first.setdefault(warning.code, f"{item.place.name!r} {warning.detail}")
    return [
        {
            "code": code,
            "detail": first[code] + (f" The same holds for {len(found) - 1} more." if len(found) > 1 else ""),
            "n_images": len(found),
            "images": found[:_NAMED_FILES],
        }
        for code, found in sorted(names.items())
    ]


def image_entry(item: Accepted, series: str | None) -> dict[str, Any]:
    """The image as the manifest lists it; `series` is that of DICOM files which it is a slice of, if any."""
    parameters = item.image.parameters if series is None else {**item.image.parameters, "volume": series}
    if item.image.warnings:
        parameters = {**parameters, "warnings": [warning.code for warning in item.image.warnings]}
    return {
        "name": item.place.name,
        "class": str(item.place.tumour_class),
        "split": str(item.place.split) if item.place.split else None,
        "plane": item.image.plane,
        "sha256": item.image.sha256,
        "width": item.image.width,
        "height": item.image.height,
        "source": None,
        "parameters": parameters,
    }


def hash_request(good: Sequence[Accepted], wish: Sequence[Any]) -> str:
    """The hash of what was asked for; a repeated multipart body has another boundary, so names and contents count."""
    facts = [*wish, [(item.place.name, item.image.sha256) for item in good]]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
