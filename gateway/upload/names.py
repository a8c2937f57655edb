"""Names of uploaded files: which are refused, which are ignored, and what split and class the others name."""

import unicodedata
from dataclasses import dataclass
from typing import Final

from gateway.upload.errors import (
    LayoutInvalid,
    NameInvalid,
    NamesCollide,
    PathAbsolute,
    PathEscapes,
    PathHasBackslash,
    UnknownClassFolder,
)
from shared.errors import InvalidInput
from shared.tumour import Split, TumourClass

_MAX_COMPONENT_BYTES: Final = 200
_MAX_PATH_BYTES: Final = 800
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories: control, format (this has the right-to-left override), surrogate, private, unassigned, line."""
_RESOURCE_FILES: Final = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
_OTHER_SPLITS: Final = frozenset({"validation", "valid", "val"})
"""Folders that are meant as splits and are none of ours; never taken for a folder around everything."""
_SPLITS: Final = {
    "training": Split.TRAINING, "train": Split.TRAINING, "testing": Split.TESTING, "test": Split.TESTING
}  # fmt: skip
_CLASSES: Final = {tumour_class.value: tumour_class for tumour_class in TumourClass}


@dataclass(frozen=True)
class Place:
    """Where an image belongs; `name` is `<split>/<class>/<file>` or `<class>/<file>`."""

    name: str
    tumour_class: TumourClass
    split: Split | None


def split_path(name: str) -> tuple[str, ...]:
    """The folders and the file of `name`, after the checks that protect a disk.

    Raises:
        PathHasBackslash, PathAbsolute, PathEscapes, NameInvalid: see each.
    """
    shown = ascii(name[:80])
    if "\\" in name:
        raise PathHasBackslash(f"The name {shown} has a backslash; separate folders with '/'.")
    if name.startswith("/") or name[1:2] == ":":
        raise PathAbsolute(f"The name {shown} begins at the root of a disk; use names inside the upload only.")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts:
        raise PathEscapes(f"The name {shown} leads out of the upload; use names inside the upload only.")
    if any(unicodedata.category(letter) in _INVISIBLE for letter in name):
        raise NameInvalid(f"The name {shown} has characters that cannot be seen; rename the file.")
    if len(name.encode()) > _MAX_PATH_BYTES or any(len(part.encode()) > _MAX_COMPONENT_BYTES for part in parts):
        raise NameInvalid(f"The name {shown} is too long; a file or folder name may have {_MAX_COMPONENT_BYTES} bytes.")
    if not parts or any(part != part.strip() for part in parts):
        raise NameInvalid(f"The name {shown} is empty or begins or ends with a space; rename the file.")
    return tuple(unicodedata.normalize("NFC", part) for part in parts)


def is_ignored(parts: tuple[str, ...]) -> bool:
    """Whether a desktop system put this file there by itself (`.DS_Store`, `__MACOSX/...`, `Thumbs.db`)."""
    return any(part.startswith(".") or part.casefold() in _RESOURCE_FILES for part in parts)


def place_files(paths: list[tuple[str, ...]]) -> list[Place | InvalidInput]:
    """For each path its place, or why it has none. One folder that holds everything is looked through.

    Raises:
        NamesCollide: two paths have the same name, whatever their case and Unicode form.
    """
    if _have_wrapper(paths):
        paths = [path[1:] for path in paths]
    seen: set[str] = set()
    placed: list[Place | InvalidInput] = []
    for path in paths:
        place: Place | InvalidInput
        try:
            place = _place(path)
        except InvalidInput as error:
            placed.append(error)
            continue
        key = place.name.casefold()
        if key in seen:
            raise NamesCollide(f"Two files are called {place.name!r} (case and Unicode form aside); rename one.")
        seen.add(key)
        placed.append(place)
    return placed


def _have_wrapper(paths: list[tuple[str, ...]]) -> bool:
    """Whether all paths begin with one folder that is neither a split nor a class, and has folders below it."""
    first = {path[0].casefold() for path in paths}
    lengths = {len(path) for path in paths}
    if len(first) != 1 or min(lengths) < 2 or max(lengths) < 3:
        return False
    return not first & (_SPLITS.keys() | _CLASSES.keys() | _OTHER_SPLITS)


def _place(path: tuple[str, ...]) -> Place:
    classes = ", ".join(_CLASSES)
    shown = "/".join(path)
    *folders, file = path
    if not folders or len(folders) > 2:
        raise LayoutInvalid(
            f"{shown!r} does not lie at <split>/<class>/<file> or <class>/<file>; classes are {classes}, "
            "splits are Training and Testing."
        )
    tumour_class = _CLASSES.get(folders[-1].casefold())
    if tumour_class is None:
        raise UnknownClassFolder(
            f"{shown!r} lies in a folder that is no tumour class; the classes are {classes}.", valid=list(_CLASSES)
        )
    if len(folders) == 1:
        return Place(f"{tumour_class}/{file}", tumour_class, None)
    split = _SPLITS.get(folders[0].casefold())
    if split is None:
        raise LayoutInvalid(f"{shown!r} lies in a folder that is no split; the splits are Training and Testing.")
    return Place(f"{split}/{tumour_class}/{file}", tumour_class, split)
