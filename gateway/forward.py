"""Pass a request on to the service behind a path, and its answer back, both as streams."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import httpx
from fastapi import Request
from starlette.background import BackgroundTask
from starlette.responses import Response, StreamingResponse

from gateway.auth import principal_of
from gateway.resources import resources_of
from gateway.upload.body import batches
from shared.app import INTERNAL_TOKEN, KEY_ID, OWNER, REQUEST_ID
from shared.errors import InvalidInput, ServiceUnavailable
from shared.settings import Settings

_PASSED_ON: Final = ("accept", "idempotency-key", "if-none-match")
_PASSED_ON_WITH_A_BODY: Final = ("content-type", "content-length")
_PASSED_BACK: Final = (
    "content-type",
    "content-length",
    "location",
    "etag",
    "cache-control",
    "content-disposition",
    "retry-after",
)
_JSON_BYTES: Final = 1024 * 1024
_FRAME_BYTES: Final = 64 * 1024
"""What the boundaries and headers of multipart may add to a file."""


class IdempotencyKeyInvalid(InvalidInput):
    """The Idempotency-Key cannot be compared."""


class RequestTargetInvalid(InvalidInput):
    """The path or query has a character that no URL has there."""


@dataclass(frozen=True)
class Forwarded:
    """One path that a service answers.

    Args:
        method: GET or POST.
        path: the same in public and in private.
        service: the name of the service.
        timeout_s: how long the service may take to begin its answer.
        limit: the setting with the largest file, which may come in a frame of multipart; None means a body of JSON.
    """

    method: str
    path: str
    service: str
    timeout_s: float = 30.0
    limit: str | None = None


FORWARDED: Final = (
    Forwarded("POST", "/preprocess", "preprocess"),
    Forwarded("POST", "/plane", "preprocess", limit="image_max_bytes"),
    Forwarded("POST", "/models/diffusion", "generator"),
    Forwarded("POST", "/models/diffusion/keep", "generator"),
    Forwarded("POST", "/generate", "generator"),
    Forwarded("POST", "/image-sets/{image_set}/regenerate", "generator"),
    Forwarded("POST", "/models/{model}/calibrate", "generator"),
    Forwarded("POST", "/models/import", "generator", timeout_s=900.0, limit="import_max_bytes"),
    Forwarded("GET", "/models/{model_id}/export", "generator"),
    Forwarded("POST", "/evaluate", "evaluator"),
    Forwarded("POST", "/audit", "evaluator"),
    Forwarded("POST", "/image-sets/{image_set}/exclude", "evaluator"),
    Forwarded("POST", "/models/classifier", "classifier"),
    Forwarded("POST", "/scenarios", "classifier"),
    # The first call after a start loads the framework and the model.
    Forwarded("POST", "/classify", "classifier", timeout_s=120.0, limit="image_max_bytes"),
    Forwarded("GET", "/weights", "evaluator"),
    # Without a file the service fetches the weights from their source.
    Forwarded("POST", "/weights/{name}", "evaluator", timeout_s=900.0, limit="upload_max_bytes"),
)


async def forward(request: Request, route: Forwarded) -> Response:
    """The service's answer to `request`; a problem document of the service passes unchanged.

    Raises:
        RequestTargetInvalid: the path or query cannot be part of a URL.
        ServiceUnavailable: the service does not answer; the error names it.
        UploadTooLarge: the body is above the limit of this path.
    """
    resources = resources_of(request)
    # The bytes as they came: decoded and encoded again, a non-ASCII path or header would not survive.
    raw_path, query = request.scope["raw_path"], request.scope["query_string"]
    service_url = httpx.URL(resources.service_urls()[route.service])
    try:
        url = service_url.copy_with(raw_path=raw_path + (b"?" + query if query else b""))
    except httpx.InvalidURL as error:
        raise RequestTargetInvalid(
            "The path or query has a character that must be percent-encoded; write %23 for #."
        ) from error
    outgoing = resources.services.build_request(
        request.method,
        url,
        headers=_headers(request, resources.settings),
        content=_body(request, route, resources.settings) if _has_body(request) else None,
        timeout=httpx.Timeout(route.timeout_s, connect=2.0),
    )
    try:
        answer = await resources.services.send(outgoing, stream=True)
    except httpx.TimeoutException as error:
        raise ServiceUnavailable(_sentence(route, f"did not answer within {route.timeout_s:.0f} s")) from error
    except httpx.TransportError as error:
        raise ServiceUnavailable(_sentence(route, "does not answer"), service=route.service) from error
    headers = {name: answer.headers[name] for name in _PASSED_BACK if name in answer.headers}
    return StreamingResponse(
        _read(answer), status_code=answer.status_code, headers=headers, background=BackgroundTask(answer.aclose)
    )


def _headers(request: Request, settings: Settings) -> list[tuple[bytes, bytes]]:
    """The caller's headers that a service needs, and who the caller is.

    Raises:
        IdempotencyKeyInvalid: the key is not plain text.
    """
    if not request.headers.get("idempotency-key", "").isascii():
        raise IdempotencyKeyInvalid("The Idempotency-Key must be ASCII, for example a UUID.")
    principal = principal_of(request)
    chunked = "transfer-encoding" in request.headers
    names = _PASSED_ON + (_PASSED_ON_WITH_A_BODY if _has_body(request) else ())
    passed = [
        (name, value)
        for name, value in request.headers.raw
        if name.decode("latin-1") in names and not (chunked and name == b"content-length")
    ]
    own = {
        INTERNAL_TOKEN: settings.internal_token,
        OWNER: principal.owner,
        KEY_ID: principal.key_id,
        REQUEST_ID: request.state.request_id,
        "Accept-Encoding": "identity",
    }
    return passed + [(name.encode(), value.encode()) for name, value in own.items()]


def _has_body(request: Request) -> bool:
    """Whether a body is passed on; what comes with a GET means nothing (RFC 9110, 9.3.1)."""
    return request.method == "POST"


async def _body(request: Request, route: Forwarded, settings: Settings) -> AsyncIterator[bytes]:
    limit = _JSON_BYTES if route.limit is None else int(getattr(settings, route.limit)) + _FRAME_BYTES
    async for batch in batches(request, limit):
        yield batch


async def _read(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    finally:
        await answer.aclose()


def _sentence(route: Forwarded, what: str) -> str:
    return f"The {route.service} service {what}; GET /readyz shows what is down. Try again in a moment."
