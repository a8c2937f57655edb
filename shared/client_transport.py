"""How the client talks: problems as exceptions, patience with restarts, uploads that are never whole in memory."""

import json
import mimetypes
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx

Json = dict[str, Any]

Report = Callable[[int, int], None]
"""Called with (bytes done, bytes in all); all is 0 where it is not known."""

UPLOAD_S: Final = 1800.0
"""How long the answer to an upload may take, seconds."""

_CHUNK_BYTES: Final = 256 * 1024
_RETRIED_STATUSES: Final = frozenset({502, 503, 504})


class ApiProblem(Exception):
    """The platform refused or could not serve a call.

    Attributes:
        status: the HTTP status; 0 when nothing answered.
        code: stable and machine-readable, for example `model_not_found`.
        detail: what is wrong and what to do about it.
        problem: the whole problem document.
    """

    def __init__(self, status: int, code: str, detail: str, problem: dict[str, Any] | None = None) -> None:
        super().__init__(f"{detail} ({code}, {status})")
        self.status = status
        self.code = code
        self.detail = detail
        self.problem = problem or {}


class Transport:
    """One HTTP connection pool to one gateway.

    Args:
        base_url: for example `http://127.0.0.1:8000`.
        api_key: sent as a bearer token; None for the calls that need none.
        timeout_s: how long one answer may take to begin.
        patience_s: how long to go on trying while the gateway is away.
    """

    def __init__(self, base_url: str, api_key: str | None, timeout_s: float, patience_s: float) -> None:
        self._patience_s = patience_s
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        timeout = httpx.Timeout(timeout_s, connect=5.0)
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=timeout, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, **params: Any) -> httpx.Response:
        """GET, tried again while the gateway restarts; parameters that are None are left out."""
        return self._patiently(lambda: self._http.get(path, params=_present(params)))

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> httpx.Response:
        """POST under an Idempotency-Key, so that trying again after a lost answer makes nothing twice."""
        request = self._http.build_request(
            "POST",
            path,
            json=None if body is None else _present(body),
            params=_present(params or {}),
            headers={"Idempotency-Key": uuid.uuid4().hex},
            timeout=httpx.USE_CLIENT_DEFAULT if timeout_s is None else httpx.Timeout(timeout_s, connect=5.0),
        )
        return self._patiently(lambda: self._http.send(request))

    def put(self, path: str, body: Any = None, *, csv: bytes | None = None) -> httpx.Response:
        """PUT JSON or CSV; putting twice is putting once."""
        content = {"json": body} if csv is None else {"content": csv, "headers": {"Content-Type": "text/csv"}}
        return self._patiently(lambda: self._http.put(path, **content))

    def send_files(
        self, path: str, files: Mapping[str, Path], params: Mapping[str, Any], report: Report | None, timeout_s: float
    ) -> httpx.Response:
        """POST files as multipart parts `file`, read from disk while they are sent."""
        boundary = uuid.uuid4().hex
        heads = {name: _part_head(name, boundary) for name in files}
        tail = f"--{boundary}--\r\n".encode()
        total = sum(len(heads[name]) + file.stat().st_size + 2 for name, file in files.items()) + len(tail)
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(total),
            "Idempotency-Key": uuid.uuid4().hex,
        }
        timeout = httpx.Timeout(timeout_s, connect=5.0)
        return self._patiently(
            lambda: self._http.post(
                path,
                content=_multipart(files, heads, tail, total, report),
                params=_present(params),
                headers=headers,
                timeout=timeout,
            )
        )

    def download(self, path: str, target: Path, params: Mapping[str, Any], report: Report | None) -> int:
        """GET into a file, which appears under its name only when it is whole; return its size in bytes."""
        partial = target.with_name(target.name + ".part")
        received = 0
        try:
            with self._http.stream("GET", path, params=_present(params)) as response:
                if not response.is_success:
                    response.read()
                    raise problem_of(response)
                total = int(response.headers.get("content-length", 0))
                with partial.open("wb") as file:
                    for chunk in response.iter_bytes(_CHUNK_BYTES):
                        file.write(chunk)
                        received += len(chunk)
                        if report:
                            report(received, total)
            partial.replace(target)
        except httpx.TransportError as error:
            raise unreachable(error) from error
        finally:
            partial.unlink(missing_ok=True)
        return received

    def events(self, path: str, silence_s: float) -> Iterator[tuple[str, dict[str, Any]]]:
        """Server-sent events whose data is JSON; a silence longer than `silence_s` counts as a lost connection."""
        with self._http.stream("GET", path, timeout=httpx.Timeout(silence_s, connect=5.0)) as response:
            if not response.is_success:
                response.read()
                raise problem_of(response)
            yield from _parse_events(response.iter_lines())

    def readiness(self) -> dict[str, Any]:
        """The body of GET /readyz, whether it says ready or not."""
        try:
            body: dict[str, Any] = self._http.get("/readyz").json()
        except httpx.TransportError as error:
            raise unreachable(error) from error
        return body

    def _patiently(self, call: Callable[[], httpx.Response]) -> httpx.Response:
        deadline = time.monotonic() + self._patience_s
        pause_s = 0.2
        while True:
            problem: ApiProblem
            try:
                response = call()
                if response.status_code < 400:  # also 304
                    return response
                problem = problem_of(response)
                problem_is_passing = response.status_code in _RETRIED_STATUSES
            except httpx.TransportError as error:
                problem, problem_is_passing = unreachable(error), True
            if not problem_is_passing or time.monotonic() + pause_s > deadline:
                raise problem
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 3.0)


def files_of(source: Path) -> dict[str, Path]:
    """What uploading `source` sends: the zip itself, or every file below a folder by its path in it.

    Raises:
        FileNotFoundError: there is nothing there.
    """
    if source.is_file():
        return {source.name: source}
    found = {path.relative_to(source).as_posix(): path for path in sorted(source.rglob("*")) if path.is_file()}
    kept = {name: path for name, path in found.items() if not any(part.startswith(".") for part in name.split("/"))}
    if not kept:
        raise FileNotFoundError(f"There are no files at {source}.")
    return kept


def problem_of(response: httpx.Response) -> ApiProblem:
    """The problem document of a response that was read."""
    try:
        problem = response.json()
        return ApiProblem(response.status_code, str(problem["code"]), str(problem["detail"]), problem)
    except (ValueError, KeyError, TypeError):
        return ApiProblem(
            response.status_code, f"http_{response.status_code}", response.text[:300] or "No explanation."
        )


def unreachable(error: httpx.TransportError) -> ApiProblem:
    """The problem of not having been answered."""
    detail = "The platform does not answer; is it running (`make up`), and is the address right?"
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        detail = "The platform took too long to answer; try again, or wait longer."
    return ApiProblem(0, "unreachable", detail)


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _part_head(name: str, boundary: str) -> bytes:
    # https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data
    escaped = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{escaped}"\r\n'
        f"Content-Type: {media_type}\r\n\r\n"
    ).encode()


def _multipart(
    files: Mapping[str, Path], heads: Mapping[str, bytes], tail: bytes, total: int, report: Report | None
) -> Iterator[bytes]:
    sent = 0
    buffer = bytearray()
    for name, path in files.items():
        buffer += heads[name]
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                buffer += chunk
                if len(buffer) >= _CHUNK_BYTES:
                    yield bytes(buffer)
                    sent += len(buffer)
                    buffer.clear()
                    if report:
                        report(sent, total)
        buffer += b"\r\n"
    yield bytes(buffer) + tail
    if report:
        report(total, total)


def _parse_events(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) whose data is JSON."""
    event, data = "message", ""
    for line in lines:
        field, _, value = line.partition(":")
        if field == "event":
            event = value.strip()
        elif field == "data":
            data += value.removeprefix(" ")
        elif not line and data:
            yield event, json.loads(data)
            event, data = "message", ""


def json_of(response: httpx.Response) -> Json:
    """The JSON object of an answer."""
    body: Json = response.json()
    return body
