"""Outermost layer: a request id on every answer and log line, safe headers, and no answer without a body we chose.

Plain ASGI, because FastAPI's `middleware("http")` sits between a stream and its client.
"""

import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.app import REQUEST_ID, problem_response
from shared.errors import SynthMRIError
from shared.logs import get_log, log_context

log = get_log(__name__)


class InternalError(SynthMRIError):
    """Something broke that no error class describes."""

    @property
    def code(self) -> str:
        """The code that `shared.app` gives to the unexpected."""
        return "internal"


class RequestIds:
    """Gives every request an id and logs how it ended; file names and queries stay out of the log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")[:64]
        request_id = given if given.isascii() and given.isprintable() and given else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0
        started = time.monotonic()

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        with log_context(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_headers)
            except Exception as error:  # the last place where a request can be answered
                log.error("request_broke", exc_info=error)
                if status:
                    raise
                detail = "An unexpected error; the log has it under the X-Request-ID of this answer."
                await problem_response(InternalError(detail))(scope, receive, send_with_headers)
            finally:
                route = getattr(scope.get("route"), "path", "none")
                elapsed_ms = round((time.monotonic() - started) * 1000, 1)
                log.info("request", method=scope["method"], route=route, status=status, elapsed_ms=elapsed_ms)
