"""Pages of a list that lies in memory, and the limits of every list."""

import base64
import binascii
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Annotated, Any

from fastapi import Query
from pydantic import AfterValidator

from shared.cursors import CursorInvalid, decode_cursor

Limit = Annotated[int, Query(ge=1, le=500, description="Most items in one answer.")]


def _check_row_cursor(cursor: str | None) -> str | None:
    """Refuse a forged cursor whose id no database could compare with."""
    if cursor is not None:
        _, row_id = decode_cursor(cursor)
        if not (row_id.isascii() and row_id.isprintable()):
            raise CursorInvalid("This cursor is not valid; take next_cursor from the previous page as it is.")
    return cursor


Position = Annotated[
    str | None, Query(max_length=300, description="`next_cursor` of the previous page, as it is.", examples=[None])
]

Cursor = Annotated[Position, AfterValidator(_check_row_cursor)]


def listing(items: Sequence[Any], next_cursor: str | None) -> dict[str, Any]:
    """The body of a list."""
    return {"items": items, "next_cursor": next_cursor}


def page_of(
    items: Sequence[Any], cursor: str | None, limit: int, wanted: Callable[[Any], bool] = lambda _: True
) -> dict[str, Any]:
    """One page of the wanted ones of `items`.

    The cursor is a position among all items, whose number never changes, so that one which stops or begins to be wanted
    between two pages moves no other.

    Raises:
        CursorInvalid: the cursor was not made by this list.
    """
    start = 0 if cursor is None else _position(cursor)
    if start > len(items):
        raise CursorInvalid("This cursor is not of this list; take next_cursor from the previous page as it is.")
    positions = (position for position in range(start, len(items)) if wanted(items[position]))
    found = list(islice(positions, limit + 1))
    following = None
    if len(found) > limit:
        following = base64.urlsafe_b64encode(f"at:{found[limit]}".encode()).decode().rstrip("=")
    return listing([items[position] for position in found[:limit]], following)


def _position(cursor: str) -> int:
    try:
        word, _, number = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition(":")
        if word != "at" or not number.isascii() or not number.isdigit():
            raise ValueError(word)
        return int(number[:12])
    except (ValueError, binascii.Error) as error:
        raise CursorInvalid("This cursor is not valid; take next_cursor from the previous page as it is.") from error
