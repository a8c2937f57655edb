"""The paths that a service answers; their parameters and bodies are documented by the service itself."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.forward import FORWARDED, Forwarded, forward

router = APIRouter(include_in_schema=False)


def _endpoint(route: Forwarded) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await forward(request, route)

    return endpoint


for _route in FORWARDED:
    router.add_api_route(_route.path, _endpoint(_route), methods=[_route.method], name=f"{_route.method} {_route.path}")
