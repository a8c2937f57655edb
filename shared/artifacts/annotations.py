"""Annotations: what people corrected about the images of a set, whose manifest never changes.

They live in a table beside the manifest and are laid over its images wherever those are listed or read for work.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from shared.artifacts.store import Artifact
from shared.artifacts.tables import ArtifactRow, ImageAnnotationRow
from shared.artifacts.volumes import name_patients
from shared.cursors import CursorInvalid, decode_cursor, encode_cursor
from shared.database import Database, now_s

BY_USER = "user"
"""The `plane_source` of an image whose plane a person set."""

Correction = Mapping[str, str | None]
"""Some of `plane` and `group`; None takes a correction back, a member left out keeps what was set before."""


def annotated_images(database: Database, artifact: Artifact, images: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`images`, all of the set `artifact`, with the corrections that people made; the very same ones if there are none.

    A corrected plane comes with `plane_source` "user" and without `plane_confidence`, which was that of another plane.
    Slices of one volume are of one patient, see `volumes`.
    """
    corrections = get_corrections(database, artifact)
    if corrections:
        images = [
            _overlay(image, *corrections[image["name"]]) if image["name"] in corrections else image for image in images
        ]
    return name_patients(images)


def get_corrections(database: Database, artifact: Artifact) -> dict[str, tuple[str | None, str | None]]:
    """By name of an image, the plane and the group that people set; None for what they did not."""
    annotation = ImageAnnotationRow
    query = select(annotation.name, annotation.plane, annotation.patient_group)
    with database.reading() as session:
        found = session.execute(query.where(annotation.image_set_id == artifact.id))
        return {name: (plane, group) for name, plane, group in found}


def correct_images(database: Database, artifact: Artifact, corrections: Mapping[str, Correction], *, by: str) -> int:
    """Store corrections by image name, all in one transaction; returns for how many images something changed.

    Args:
        database: where annotations are.
        artifact: the image set; the caller has checked that it has these images.
        corrections: what to change of each image.
        by: id of the API key that asks.
    """
    with database.writing() as session:
        # One writer per set at a time, so that what is read here is still true when it is written.
        session.execute(select(ArtifactRow.id).where(ArtifactRow.id == artifact.id).with_for_update())
        at_s = session.scalars(select(now_s())).one()
        query = select(ImageAnnotationRow).where(ImageAnnotationRow.image_set_id == artifact.id)
        rows = {row.name: row for row in session.scalars(query)}
        n_changed = 0
        for name, correction in corrections.items():
            row = rows.get(name)
            plane = correction.get("plane", row.plane if row else None)
            group = correction.get("group", row.patient_group if row else None)
            if (plane, group) == ((row.plane, row.patient_group) if row else (None, None)):
                continue
            n_changed += 1
            if row is not None and plane is None and group is None:
                session.delete(row)
                continue
            if row is None:
                row = ImageAnnotationRow(image_set_id=artifact.id, name=name)
                session.add(row)
            row.plane, row.patient_group, row.key_id, row.updated_at = plane, group, by, at_s
    return n_changed


def list_annotations(
    database: Database, artifact: Artifact, *, cursor: str | None = None, limit: int = 50
) -> tuple[list[ImageAnnotationRow], str | None]:
    """One page of what people set, by image name, and the cursor of the next page.

    Raises:
        CursorInvalid: the cursor was not made by this list.
    """
    query = select(ImageAnnotationRow).where(ImageAnnotationRow.image_set_id == artifact.id)
    if cursor is not None:
        _, last_name = decode_cursor(cursor)
        if not last_name.isprintable():  # no image has such a name, and PostgreSQL refuses to compare with some
            raise CursorInvalid("This cursor is not valid; take next_cursor from the previous page as it is.")
        query = query.where(ImageAnnotationRow.name > last_name)
    with database.reading() as session:
        rows = list(session.scalars(query.order_by(ImageAnnotationRow.name).limit(limit + 1)))
    page = rows[:limit]
    return page, encode_cursor(page[-1].updated_at, page[-1].name) if len(rows) > limit else None


def _overlay(image: dict[str, Any], plane: str | None, group: str | None) -> dict[str, Any]:
    corrected = dict(image)
    if plane is not None:
        corrected |= {"plane": plane, "plane_source": BY_USER, "plane_confidence": None}
    if group is not None:
        corrected["group"] = group
    return corrected
