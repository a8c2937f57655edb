"""Cursors of lists: where the last page ended, as one opaque word that survives insertions."""

import base64
import binascii
import json

from sqlalchemy import ColumnElement, and_, or_
from sqlalchemy.orm import InstrumentedAttribute

from shared.errors import InvalidInput


class CursorInvalid(InvalidInput):
    """The cursor was not made by this list."""


def encode_cursor(created_at: float, row_id: str) -> str:
    """The cursor of the page that begins after the row (created_at, row_id)."""
    return base64.urlsafe_b64encode(json.dumps([created_at, row_id]).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[float, str]:
    """The pair that `encode_cursor` was given.

    Raises:
        CursorInvalid: the text is not such a cursor.
    """
    try:
        created_at, row_id = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return float(created_at), str(row_id)
    except (ValueError, TypeError, binascii.Error) as error:
        raise CursorInvalid("This cursor is not valid; take next_cursor from the previous page as it is.") from error


def older_than(
    cursor: str, created_at: InstrumentedAttribute[float], row_id: InstrumentedAttribute[str]
) -> ColumnElement[bool]:
    """The condition that a row comes after `cursor` in a list ordered by (created_at, id), newest first."""
    at, last_id = decode_cursor(cursor)
    return or_(created_at < at, and_(created_at == at, row_id < last_id))
