"""What every HTTP process shares: problem documents, request ids, and the services' private door."""

import errno
import hashlib
import hmac
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from shared.database import get_database
from shared.errors import Forbidden, StorageFull, SynthMRIError
from shared.jobs.submission import Caller
from shared.logs import configure_logs, get_log, log_context
from shared.objects import get_objects
from shared.settings import get_settings

PROBLEM = "application/problem+json"
INTERNAL_TOKEN, OWNER, KEY_ID, REQUEST_ID = "X-Internal-Token", "X-SynthMRI-Owner", "X-SynthMRI-Key", "X-Request-ID"

log = get_log(__name__)


class NotTheGateway(Forbidden):
    """Only the gateway may speak to a service."""


def problem_response(error: SynthMRIError, headers: dict[str, str] | None = None) -> JSONResponse:
    """The RFC 9457 answer for `error`."""
    return JSONResponse(error.problem(), status_code=error.status, media_type=PROBLEM, headers=headers)


def add_problem_handlers(app: FastAPI) -> None:
    """Make every error of `app` a problem document; unexpected ones say nothing about the inside."""

    def known(_: Request, error: Exception) -> Response:
        assert isinstance(error, SynthMRIError)  # noqa: S101 registered for this type only
        return problem_response(error)

    def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 registered for this type only
        # The user's input is not echoed: it may be NaN, huge, or somebody's name.
        fields = [{"field": ".".join(str(part) for part in e["loc"]), "message": e["msg"]} for e in error.errors()]
        detail = "; ".join(f"{f['field']}: {f['message']}" for f in fields[:5])
        return _problem(422, "invalid_request", f"The request is not valid. {detail}.", errors=fields)

    def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 registered for this type only
        code = {404: "no_such_route", 405: "method_not_allowed"}.get(error.status_code, f"http_{error.status_code}")
        if error.status_code == HTTPStatus.BAD_REQUEST:
            detail = (
                f"The body cannot be read: {str(error.detail).rstrip('.')}. Send plain, uncompressed JSON in UTF-8."
            )
            return _problem(400, "body_unreadable", detail)
        response = _problem(
            error.status_code, code, f"{str(error.detail).rstrip('.')}. See /docs for the calls there are."
        )
        response.headers.update(error.headers or {})
        return response

    def unexpected(_: Request, error: Exception) -> Response:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return problem_response(StorageFull("The disk is full; free some space and try again. Nothing was stored."))
        log.error("request_broke", exc_info=error)
        return _problem(500, "internal", "An unexpected error; the log has it under the X-Request-ID of this answer.")

    app.add_exception_handler(SynthMRIError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(OSError, unexpected)
    app.add_exception_handler(Exception, unexpected)


def _problem(status: int, code: str, detail: str, **extra: Any) -> JSONResponse:
    body = {
        "type": f"urn:synthmri:error:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
        "detail": detail,
        **extra,
    }
    return JSONResponse(body, status_code=status, media_type=PROBLEM)


def create_service_app(name: str, router: APIRouter, at_start: Callable[[], None] | None = None) -> FastAPI:
    """The private HTTP app of one service; uvicorn serves it on loopback or inside the cluster.

    Args:
        name: of the service.
        router: its routes.
        at_start: done once, in a thread of its own, before the first request is answered.
    """
    configure_logs(get_settings().log_level)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if at_start is not None:
            await run_in_threadpool(at_start)
        yield

    title = f"SynthMRI {name}"
    app = FastAPI(title=title, docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=lifespan)
    add_problem_handlers(app)
    app.middleware("http")(_with_request_id)
    app.include_router(router, dependencies=[Depends(require_gateway)])

    @app.get("/livez", include_in_schema=False)
    def livez() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", include_in_schema=False)
    def readyz() -> dict[str, str]:
        get_database().ping()
        get_objects().ping()
        return {"status": "ready"}

    return app


async def _with_request_id(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Bind the request id to every log line of the request and return it in the answer."""
    request_id = request.headers.get(REQUEST_ID, "")[:64] or uuid.uuid4().hex
    with log_context(request_id=request_id):
        response = await call_next(request)
    response.headers[REQUEST_ID] = request_id
    return response


def require_gateway(token: Annotated[str, Header(alias=INTERNAL_TOKEN, include_in_schema=False)] = "") -> None:
    """Refuse requests that do not carry the internal token.

    Raises:
        NotTheGateway: the token is missing or wrong.
    """
    if not hmac.compare_digest(token.encode(), get_settings().internal_token.encode()):
        raise NotTheGateway("Services answer the gateway only; send the request there.")


async def caller(
    request: Request,
    owner: Annotated[str, Header(alias=OWNER, include_in_schema=False)] = "",
    key_id: Annotated[str, Header(alias=KEY_ID, include_in_schema=False)] = "",
    request_id: Annotated[str, Header(alias=REQUEST_ID, include_in_schema=False)] = "",
    idempotency_key: Annotated[str | None, Header(alias="Idempotency-Key", max_length=255)] = None,
) -> Caller:
    """FastAPI dependency: who asks, as the gateway found out."""
    digest = ""
    if idempotency_key and not request.headers.get("content-type", "").startswith("multipart/"):
        digest = request_digest(request, await request.body())
    return Caller(owner, key_id, request_id, idempotency_key or None, digest)


def request_digest(request: Request, body: bytes) -> str:
    """SHA-256 of what a request asks for: method, path, query and body."""
    head = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    return hashlib.sha256(head + body).hexdigest()
