"""Everything a route needs, made once per process and handed to it by `resources_of`."""

from dataclasses import dataclass
from typing import Annotated

import httpx
from fastapi import Header, Request

from gateway.rate_limit import RateLimiter
from gateway.upload.checking import ImageChecker
from gateway.upload.intake import Intake
from shared.artifacts.store import ArtifactStore, get_artifacts
from shared.database import Database, get_database
from shared.jobs.store import JobStore
from shared.objects import ObjectStore, get_objects
from shared.settings import Settings

IdempotencyKey = Annotated[
    str | None,
    Header(alias="Idempotency-Key", max_length=255, description="Same key and request, same result."),
]

_CONNECT_S = 2.0
_READ_S = 30.0


@dataclass(frozen=True)
class Resources:
    """The gateway's connections; each connects at its first use."""

    settings: Settings
    database: Database
    objects: ObjectStore
    artifacts: ArtifactStore
    jobs: JobStore
    limiter: RateLimiter
    intake: Intake
    services: httpx.AsyncClient

    async def close(self) -> None:
        """Stop the children and give the connections back."""
        self.intake.checker.close()
        self.limiter.close()
        await self.services.aclose()

    def service_urls(self) -> dict[str, str]:
        """Service name -> base URL."""
        settings = self.settings
        return {
            "preprocess": settings.preprocess_url,
            "generator": settings.generator_url,
            "evaluator": settings.evaluator_url,
            "classifier": settings.classifier_url,
        }


def make_resources(settings: Settings) -> Resources:
    """The resources of this process; nothing connects yet."""
    database, objects, artifacts = get_database(), get_objects(), get_artifacts()
    return Resources(
        settings=settings,
        database=database,
        objects=objects,
        artifacts=artifacts,
        jobs=JobStore(database),
        limiter=RateLimiter(settings.redis_url, settings.rate_limit_per_minute),
        intake=Intake(settings, ImageChecker(settings), database, objects, artifacts),
        services=httpx.AsyncClient(
            timeout=httpx.Timeout(_READ_S, connect=_CONNECT_S),
            limits=httpx.Limits(max_connections=200),
            trust_env=False,
        ),
    )


def resources_of(request: Request) -> Resources:
    """FastAPI dependency: the resources."""
    resources: Resources = request.app.state.resources
    return resources
