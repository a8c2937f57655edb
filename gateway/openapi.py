"""One OpenAPI document for the whole platform: the gateway's own calls and those of every service."""

import copy
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

from gateway.auth import needed_scope
from gateway.forward import FORWARDED
from gateway.resources import Resources
from shared.app import INTERNAL_TOKEN

Document = dict[str, Any]

_FRESH_S: Final = 30.0
_METHODS: Final = frozenset({"get", "post", "put", "patch", "delete"})
_OPEN: Final = frozenset({"/livez", "/readyz", "/openapi.json", "/docs"})
_DESCRIPTION: Final = """
Synthetic brain MRIs by diffusion models, measured, and tried on a tumour classifier.

Upload images, `POST /preprocess`, train with `POST /models/diffusion`, then `POST /generate?class=glioma&n=600`.
Whatever takes longer than a request answers 202 with a job; follow it at `GET /jobs/{id}` or `GET /jobs/{id}/events`.
Send your key as `Authorization: Bearer <key>`. `Idempotency-Key` makes a repeated POST safe.
"""
_PROBLEM: Final[Document] = {
    "type": "object",
    "description": "RFC 9457 problem document.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:synthmri:error:model_not_found"]},
        "title": {"type": "string", "examples": ["Model not found"]},
        "status": {"type": "integer", "examples": [404]},
        "code": {"type": "string", "description": "Stable; programs may rely on it.", "examples": ["model_not_found"]},
        "detail": {"type": "string", "description": "What is wrong and what to do about it."},
    },
}
_ERRORS: Final = {
    "401": "No API key, or one that is not valid.",
    "403": "The key lacks the scope.",
    "404": "No such thing, or it is somebody else's.",
    "409": "The state does not allow it.",
    "413": "The body is too large.",
    "422": "The request is not valid.",
    "429": "Too many requests; see Retry-After.",
    "503": "Something the platform needs is down; see GET /readyz.",
}
_WRITE_ONLY: Final = ("409", "413")


class MergedOpenApi:
    """Fetches the services' documents when somebody asks, and remembers the last one of each."""

    def __init__(self, app: FastAPI) -> None:
        self._own = own_document(app.routes)
        self._seen: dict[str, tuple[float, Document]] = {}

    async def document(self, resources: Resources) -> Document:
        """The merged document; a service that is down keeps its last known calls, or is left out."""
        for service, url in resources.service_urls().items():
            if service in self._seen and time.monotonic() - self._seen[service][0] < _FRESH_S:
                continue
            try:
                headers = {INTERNAL_TOKEN: resources.settings.internal_token}
                answer = await resources.services.get(f"{url}/openapi.json", headers=headers, timeout=3.0)
                answer.raise_for_status()
                self._seen[service] = (time.monotonic(), answer.json())
            except (httpx.HTTPError, ValueError):
                continue
        return merge(self._own, {name: document for name, (_, document) in self._seen.items()})


def own_document(routes: Sequence[BaseRoute]) -> Document:
    """The document of the gateway's own calls."""
    return get_openapi(title="SynthMRI", version="1", routes=routes, description=_DESCRIPTION)


def merge(own: Document, services: Mapping[str, Document]) -> Document:
    """The gateway's document with the public calls of the services' documents; equal schema names do not collide."""
    merged = copy.deepcopy(own)
    public = {(route.service, route.method.lower(), route.path) for route in FORWARDED}
    for service, document in services.items():
        renamed = _prefixed(document, service)
        for path, operations in renamed.get("paths", {}).items():
            kept = {method: spec for method, spec in operations.items() if (service, method, path) in public}
            for spec in kept.values():
                spec.setdefault("tags", [service])
            if kept:
                merged["paths"].setdefault(path, {}).update(kept)
        schemas = renamed.get("components", {}).get("schemas", {})
        merged.setdefault("components", {}).setdefault("schemas", {}).update(schemas)
    _finish(merged)
    return merged


def _prefixed(document: Document, service: str) -> Document:
    """A copy whose schemas carry the name of the service."""
    prefix = service.capitalize()

    def rename(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: rename(value) for key, value in node.items()}
        if isinstance(node, list):
            return [rename(value) for value in node]
        if isinstance(node, str) and node.startswith("#/components/schemas/"):
            return re.sub(r"[^/]+$", lambda name: prefix + name.group(), node)
        return node

    renamed: Document = rename(document)
    schemas = renamed.get("components", {}).get("schemas", {})
    if schemas:
        renamed["components"]["schemas"] = {prefix + name: schema for name, schema in schemas.items()}
    return renamed


def _finish(document: Document) -> None:
    """Add what every call has: the key, and the problem documents it may answer."""
    components = document.setdefault("components", {})
    components["securitySchemes"] = {"apiKey": {"type": "http", "scheme": "bearer", "description": "smri_..."}}
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = _PROBLEM
    for name in [name for name in schemas if name.endswith(("HTTPValidationError", "ValidationError"))]:
        del schemas[name]
    document["security"] = [{"apiKey": []}]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method not in _METHODS:
                continue
            if path in _OPEN:
                operation["security"] = []
            else:
                scope = needed_scope(method.upper(), path)
                operation["description"] = f"{operation.get('description', '')}\n\nNeeds the scope `{scope}`.".strip()
            _add_errors(operation, is_open=path in _OPEN, is_write=method != "get")


def _add_errors(operation: Document, *, is_open: bool, is_write: bool) -> None:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    responses = operation.setdefault("responses", {})
    for status, description in _ERRORS.items():
        if is_open and status != "503":
            responses.pop(status, None)
        elif is_write or status not in _WRITE_ONLY:
            responses[status] = {"description": description, "content": content}
