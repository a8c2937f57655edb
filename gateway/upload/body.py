"""The body of an upload, streamed to a spool: multipart with many parts `file`, or one bare zip.

Starlette's own form parser stops at 1,000 parts and keeps up to 1 MB of each in memory; this one writes every part
to one file as it comes.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool

from gateway.upload.errors import NameInvalid, TooManyEntries, UploadMalformed, UploadTooLarge, UploadTooSlow
from gateway.upload.spool import Spool, SpooledFile
from shared.settings import Settings

_IDLE_S: Final = 60.0
"""How long a sender may pause."""
_BATCH_BYTES: Final = 1024 * 1024
_WANTED: Final = (
    'Send multipart/form-data with one part named "file" per image (its filename is <split>/<class>/<file> or '
    "<class>/<file>), or a single zip of such files."
)


class PartsReader:
    """Writes the parts `file` of a multipart body to a spool.

    Args:
        boundary: the boundary given in the Content-Type header.
        spool: where the bytes go.
        max_files: most parts accepted.
    """

    def __init__(self, boundary: bytes, spool: Spool, max_files: int) -> None:
        self.files: list[SpooledFile] = []
        self._spool = spool
        self._max_files = max_files
        self._header_name = b""
        self._header_value = b""
        self._disposition = b""
        self._part_name = ""
        self._part_offset = 0
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._add_header_name,
                "on_header_value": self._add_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._open_part,
                "on_part_data": self._write_part,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def feed(self, data: bytes) -> None:
        """Read the next bytes of the body."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise UploadMalformed(f"The multipart body cannot be read. {_WANTED}") from error

    def finish(self) -> None:
        """Check that the body came to its end."""
        if not self._ended:
            raise UploadMalformed("The body ends before its closing boundary; the transfer was cut off, send it again.")

    def _begin_part(self) -> None:
        self._disposition = b""

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def _open_part(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") != b"file" or not options.get(b"filename"):
            raise UploadMalformed(f"A part of the body is not a file. {_WANTED}")
        if len(self.files) >= self._max_files:
            raise TooManyEntries(f"One upload may have {self._max_files} files; send the rest as a second image set.")
        try:
            name = options[b"filename"].decode("utf-8")
        except UnicodeDecodeError as error:
            raise NameInvalid("A filename is not UTF-8; rename the file or send a zip.") from error
        # Browsers and httpx percent-encode the characters that would end the header
        # (https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data).
        for escaped, plain in (("%22", '"'), ("%0D", "\r"), ("%0A", "\n")):
            name = name.replace(escaped, plain)
        self._part_name = name
        self._part_offset = self._spool.size

    def _write_part(self, data: bytes, start: int, end: int) -> None:
        self._spool.append(data[start:end])

    def _end_part(self) -> None:
        size = self._spool.size - self._part_offset
        self.files.append(SpooledFile(self._part_name, self._part_offset, size))

    def _end(self) -> None:
        self._ended = True


async def read_body(request: Request, folder: Path, settings: Settings) -> tuple[Path, list[SpooledFile]]:
    """Spool the body of `request` into `folder` and return the spool's path and the files in it.

    Raises:
        UploadTooLarge, UploadTooSlow, UploadMalformed, TooManyEntries, NameInvalid: see each.
    """
    content_type, options = parse_options_header(request.headers.get("content-type"))
    spool = Spool(folder / "body")
    try:
        if content_type in (b"application/zip", b"application/x-zip-compressed", b"application/octet-stream"):
            async for batch in batches(request, settings.upload_max_bytes):
                await run_in_threadpool(spool.append, batch)
            return spool.path, [SpooledFile("upload.zip", 0, spool.size)]
        if content_type != b"multipart/form-data" or not options.get(b"boundary"):
            raise UploadMalformed(f"The Content-Type is not multipart/form-data with a boundary. {_WANTED}")
        try:
            reader = PartsReader(options[b"boundary"], spool, settings.upload_max_entries)
        except FormParserError as error:
            raise UploadMalformed(f"The multipart boundary is not valid. {_WANTED}") from error
        async for batch in batches(request, settings.upload_max_bytes):
            await run_in_threadpool(reader.feed, batch)
        reader.finish()
        return spool.path, reader.files
    finally:
        spool.close()


async def batches(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """The body in pieces of about one megabyte; the limit holds for what comes, not for what the header says.

    Raises:
        UploadTooLarge: more than `max_bytes` came or were announced.
        UploadTooSlow: nothing came for a minute.
    """
    refusal = UploadTooLarge(f"The body is larger than {max_bytes} bytes, the most this platform accepts.")
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > max_bytes:
        raise refusal
    stream = request.stream()
    buffer = bytearray()
    received = 0
    while True:
        try:
            async with asyncio.timeout(_IDLE_S):
                chunk = await anext(stream, None)
        except TimeoutError as error:
            raise UploadTooSlow(f"No data came for {_IDLE_S:.0f} seconds; send the upload again.") from error
        if chunk is None:
            break
        received += len(chunk)
        if received > max_bytes:
            raise refusal
        buffer += chunk
        if len(buffer) >= _BATCH_BYTES:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)
