"""A stored file as an answer: its type by its name, and nothing in it may run."""

import mimetypes
from collections.abc import Mapping
from typing import Final

from starlette.responses import Response

from shared.objects import ObjectStore

# A page may hold names that users chose: no script of any kind may run in it.
PAGE_HEADERS: Final = {"Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'"}


def file_response(objects: ObjectStore, name: str, sha256: str, headers: Mapping[str, str] | None = None) -> Response:
    """The blob `sha256` under the media type of `name`."""
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(objects.get_blob(sha256), media_type=media_type, headers={**PAGE_HEADERS, **(headers or {})})
