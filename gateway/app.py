"""The gateway: `uvicorn gateway.app:create_app --factory`."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import FastAPI

from gateway import docs
from gateway.auth import Guard
from gateway.request_id import RequestIds
from gateway.resources import make_resources
from gateway.routes import annotations, events, health, image_sets, images, jobs, models, reports, services
from gateway.upload.spool import remove_stale_folders
from shared.app import add_problem_handlers
from shared.logs import configure_logs
from shared.settings import Settings, get_settings

ROUTERS: Final = tuple(
    module.router for module in (image_sets, images, annotations, models, reports, jobs, events, services, health, docs)
)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The public HTTP application; `settings` default to those of the environment."""
    settings = settings or get_settings()
    configure_logs(settings.log_level)
    # Both write whole URLs, and an image's name may be a patient's; `request_id.py` logs every request without.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.access").disabled = True
    resources = make_resources(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        remove_stale_folders(settings.data_dir)
        yield
        await resources.close()

    # The merged OpenAPI document and the offline /docs are routes of our own, in docs.py.
    # A redirect to the path without its slash would carry the caller's Host header, or a service's private address.
    app = FastAPI(
        title="SynthMRI",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.resources = resources
    add_problem_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    # Added last is met first: ids around the guard, the guard around everything else.
    app.add_middleware(Guard, database=resources.database, limiter=resources.limiter)
    app.add_middleware(RequestIds)
    return app
