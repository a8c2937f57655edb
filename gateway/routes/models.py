"""Models: list, model card, files."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from gateway.auth import principal_of
from gateway.keys import Principal
from gateway.paging import Cursor, Limit, listing
from gateway.resources import Resources, resources_of
from shared.tumour import TumourClass

router = APIRouter(tags=["models"])


@router.get("/models")
def list_models(
    principal: Annotated[Principal, Depends(principal_of)],
    resources: Annotated[Resources, Depends(resources_of)],
    kind: Annotated[str | None, Query(description="diffusion or classifier.", examples=["diffusion"])] = None,
    tumour_class: Annotated[TumourClass | None, Query(alias="class", description="Models of one class only.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> dict[str, Any]:
    """Your models, newest first."""
    models, following = resources.artifacts.list(
        principal.sees, "model", kind=kind, tumour_class=tumour_class, cursor=cursor, limit=limit
    )
    return listing([artifact.view() for artifact in models], following)


@router.get("/models/{model_id}")
def get_model(
    model_id: str,
    principal: Annotated[Principal, Depends(principal_of)],
    resources: Annotated[Resources, Depends(resources_of)],
) -> dict[str, Any]:
    """The model card: what it was made from and how, its configuration, training curves and measurements."""
    artifact = resources.artifacts.get(model_id, principal.sees, "model")
    manifest = resources.artifacts.manifest(artifact)
    card = {key: value for key, value in manifest.items() if key not in ("noun", "owner")}
    return {**artifact.view(), **card, "summary": artifact.summary}
