"""The guard at the door: key, scope and rate are checked before a byte of the body is read.

FastAPI reads a multipart body before it runs dependencies, so a dependency would spool a stranger's 100 MB first. This
is plain ASGI around everything else; it leaves the `Principal` in `request.state.principal`.
"""

from typing import Final

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.keys import Principal, find_principal
from gateway.rate_limit import RateLimiter
from shared.app import problem_response
from shared.database import Database
from shared.errors import Forbidden, InvalidInput, QueueUnavailable, RateLimited, SynthMRIError, Unauthenticated

_OPEN_PATHS: Final = frozenset({"/livez", "/readyz", "/openapi.json", "/docs"})
_OPEN_PREFIX: Final = "/docs/"
_READ_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# These store nothing, so whoever may read may ask, with or without Redis.
_READS_BY_POST: Final = frozenset({"/classify", "/plane"})
_LOG_IN: Final = {"WWW-Authenticate": 'Bearer realm="synthmri"'}


class NulInRequest(InvalidInput):
    """A path or a query has a NUL byte."""


class Guard:
    """Admits a request or answers it at once.

    Args:
        app: what is guarded.
        database: where the keys are.
        limiter: counts requests per key, and bad keys per address.
    """

    def __init__(self, app: ASGIApp, database: Database, limiter: RateLimiter) -> None:
        self._app = app
        self._database = database
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or _is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            principal = await run_in_threadpool(self._admit, scope)
        except SynthMRIError as error:
            response = problem_response(error)
            response.headers["Connection"] = "close"  # the body, if any, stays unread
            if isinstance(error, Unauthenticated):
                response.headers.update(_LOG_IN)
            if "retry_after_s" in error.extra:
                response.headers["Retry-After"] = str(error.extra["retry_after_s"])
            await response(scope, receive, send)
            return
        scope.setdefault("state", {})["principal"] = principal
        await self._app(scope, receive, send)

    def _admit(self, scope: Scope) -> Principal:
        """Who calls, if the call is allowed.

        Raises:
            Unauthenticated, Forbidden, RateLimited, QueueUnavailable, DatabaseUnavailable: it is not.
        """
        # No name of ours has a NUL, and PostgreSQL refuses to compare with one.
        if "\x00" in scope["path"] or b"%00" in scope["query_string"]:
            raise NulInRequest("The address has a NUL byte; remove it.")
        key = _bearer(Headers(scope=scope))
        principal = find_principal(self._database, key) if key else None
        if principal is None:
            address = scope["client"][0] if scope.get("client") else "unknown"
            self._count(f"address:{address}", must_count=False)
            raise Unauthenticated(
                "Send a valid API key as `Authorization: Bearer <key>`; `synthmri keys create --name NAME`, run where "
                "the platform runs, makes one."
            )
        needed = needed_scope(scope["method"], scope["path"])
        self._count(f"key:{principal.key_id}", must_count=needed != "read")
        if needed not in principal.scopes:
            raise Forbidden(f"This API key does not have the scope {needed!r} that this call needs.", scope=needed)
        return principal

    def _count(self, subject: str, *, must_count: bool) -> None:
        try:
            wait_s = self._limiter.wait_s(subject)
        except QueueUnavailable:
            if must_count:
                raise
            return
        if wait_s:
            raise RateLimited(f"Too many requests; try again in {wait_s} seconds.", retry_after_s=wait_s)


def needed_scope(method: str, path: str) -> str:
    """The scope a call needs: read for GET, write for what makes or changes things, admin for the platform itself."""
    if path.rstrip("/") == "/metrics":
        return "admin"
    if method in _READ_METHODS or path.rstrip("/") in _READS_BY_POST:
        return "read"
    return "admin" if path.startswith("/weights") else "write"


def principal_of(request: Request) -> Principal:
    """FastAPI dependency: who calls."""
    principal: Principal = request.state.principal
    return principal


def _is_open(path: str) -> bool:
    return path in _OPEN_PATHS or path.startswith(_OPEN_PREFIX)


def _bearer(headers: Headers) -> str | None:
    """The key of exactly one `Authorization: Bearer` header."""
    values = headers.getlist("authorization")
    if len(values) != 1:
        return None
    scheme, _, key = values[0].partition(" ")
    return key if scheme.lower() == "bearer" and key else None
