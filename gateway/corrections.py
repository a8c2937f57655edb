"""Corrections of images as they come: one or many as JSON, many as CSV."""

import csv
import io
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from shared.errors import InvalidInput
from shared.texts import Name
from shared.tumour import Plane

MAX_ITEMS: Final = 100_000
SHOWN: Final = 20
"""How many wrong names or fields an answer lists."""
_COLUMNS: Final = frozenset({"name", "image_id", "plane", "group", "class"})
_PLANE_SCHEMA: Final = {"anyOf": [{"type": "string", "enum": [plane.value for plane in Plane]}, {"type": "null"}]}

Model = TypeVar("Model", bound=BaseModel)


class CsvInvalid(InvalidInput):
    """The CSV, or one line of it, cannot be used."""


class ImageNamesUnknown(InvalidInput):
    """Corrections name images that the set does not have."""


class ImageNamesAmbiguous(InvalidInput):
    """Corrections name more than one image by one word, or one image twice."""


class Correction(BaseModel):
    """What to correct of an image; a member left out stays as it was, null takes the correction back."""

    model_config = ConfigDict(extra="forbid")

    plane: Annotated[Plane | None, WithJsonSchema(_PLANE_SCHEMA)] = Field(
        None, description="The imaging plane that the image shows."
    )
    group: Name | None = Field(
        None,
        description="What keeps images of one patient together, for example a study number; no patient's name. Slices "
        "of one volume have the volume, until it is corrected.",
    )

    def changes(self) -> dict[str, str | None]:
        """The members that were given."""
        given: dict[str, str | None] = {"plane": self.plane and self.plane.value, "group": self.group}
        return {member: value for member, value in given.items() if member in self.model_fields_set}


class NamedCorrection(Correction):
    """What to correct of the image of this name."""

    name: str = Field(min_length=1, max_length=1000, description="The image, as the list of the set's images names it.")


class Corrections(BaseModel):
    """Many corrections."""

    model_config = ConfigDict(extra="forbid")

    items: list[NamedCorrection] = Field(max_length=MAX_ITEMS)


def read_json(model: type[Model], data: bytes) -> Model:
    """The request in `data`.

    Raises:
        RequestValidationError: it is not such a request; the first wrong fields are named.
    """
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[:SHOWN]
        raise RequestValidationError([{**wrong, "loc": ("body", *wrong["loc"])} for wrong in found]) from error


def read_csv(data: bytes, names: Sequence[str]) -> list[NamedCorrection]:
    """The corrections in a CSV with a header of `name` or `image_id`, and `plane`, `group` or both.

    An empty cell of `plane` or `group` says nothing. `class` is ignored.

    Args:
        data: UTF-8, with commas.
        names: those of the set's images, of which `image_id` is the file without folders and suffix.

    Raises:
        CsvInvalid, ImageNamesUnknown, ImageNamesAmbiguous: naming the line or the first names.
    """
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        _check_header(list(reader.fieldnames or []))
        rows = []
        for row in reader:
            rows.append((reader.line_num, row))
            if len(rows) > MAX_ITEMS:
                raise CsvInvalid(f"The CSV has more than {MAX_ITEMS} lines; send the rest in another request.")
    except UnicodeDecodeError as error:
        raise CsvInvalid("The CSV is not UTF-8; export it again as UTF-8.") from error
    except csv.Error as error:
        raise CsvInvalid(f"The CSV cannot be read: {error}.") from error
    named = _name_images([row for _, row in rows if not row.get("name")], names)
    return [_read_row(line, row, named) for line, row in rows]


def corrections_by_name(items: Sequence[NamedCorrection], names: Sequence[str]) -> dict[str, dict[str, str | None]]:
    """The changes by image name.

    Args:
        items: the corrections.
        names: those of the set's images.

    Raises:
        ImageNamesUnknown, ImageNamesAmbiguous: the set has no image of a name, or a name comes twice.
    """
    known = set(names)
    _refuse_unknown([item.name for item in items if item.name not in known])
    changes: dict[str, dict[str, str | None]] = {}
    for item in items:
        if item.name in changes:
            raise ImageNamesAmbiguous(f"{item.name[:120]!r} comes twice; send one correction of each image.")
        changes[item.name] = item.changes()
    return changes


def _check_header(columns: list[str]) -> None:
    known = "a column `name` or `image_id`, and `plane`, `group` or both (`class` is ignored)"
    if len(columns) != len(set(columns)) or not set(columns) <= _COLUMNS:
        raise CsvInvalid(f"The first line is the header, with commas between: {known}; it has {columns!r:.200}.")
    if not {"name", "image_id"} & set(columns) or not {"plane", "group"} & set(columns):
        raise CsvInvalid(f"The header needs {known}; it has {', '.join(columns)[:200]}.")


def _name_images(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, str]:
    """The image name for each `image_id` of the rows."""
    images: dict[str, list[str]] = {}
    for name in names if rows else ():
        images.setdefault(PurePosixPath(name).stem, []).append(name)
    asked = [str(row.get("image_id") or "").strip() for row in rows]
    _refuse_unknown([stem for stem in asked if stem and stem not in images])
    shared = list(dict.fromkeys(stem for stem in asked if len(images.get(stem, ())) > 1))
    if shared:
        raise ImageNamesAmbiguous(
            f"{_first(shared)} could be several images of the set; send their whole names in a column `name`.",
            names=shared[:SHOWN],
        )
    return {stem: images[stem][0] for stem in asked if stem}


def _read_row(line: int, row: dict[str, Any], named: dict[str, str]) -> NamedCorrection:
    if None in row:
        raise CsvInvalid(f"Line {line} has more cells than the header.")
    cells = {column: (cell or "").strip() for column, cell in row.items() if column != "class"}
    image_id = cells.pop("image_id", "")
    cells["name"] = row.get("name") or named.get(image_id, "")
    if "plane" in cells:
        cells["plane"] = cells["plane"].lower()
    try:
        return NamedCorrection.model_validate({column: cell for column, cell in cells.items() if cell})
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise CsvInvalid(f"Line {line}, {wrong['loc'][0]}: {wrong['msg']}.") from error


def _refuse_unknown(names: Sequence[str]) -> None:
    unknown = list(dict.fromkeys(names))
    if unknown:
        raise ImageNamesUnknown(
            f"The set has no image {_first(unknown)}; list its images to see their names. Nothing was changed.",
            names=unknown[:SHOWN],
        )


def _first(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:120]) for name in names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"
