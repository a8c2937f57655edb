"""Forwarding to a service that answers like one, and to one that is not there."""

import socket
import threading
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from shared.app import add_problem_handlers
from shared.errors import ModelNotFound
from shared.jobs.sweeper import HEARTBEAT_KEY
from shared.queue import get_redis
from tests.support.servers import free_port, wait_until

pytestmark = [pytest.mark.services, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]


def make_service() -> FastAPI:
    """A service that says what it was sent."""
    app = FastAPI(title="pretend")
    add_problem_handlers(app)

    @app.get("/livez", include_in_schema=False)
    def livez() -> dict[str, str]:
        return {"status": "alive"}

    @app.post("/generate", status_code=202)
    async def generate(request: Request) -> Any:
        """Generate."""
        if request.query_params.get("class") == "none":
            raise ModelNotFound("There is no model of this class; train one.")
        names = ("x-internal-token", "x-synthmri-owner", "x-synthmri-key", "x-request-id", "idempotency-key")
        body = {"query": str(request.url.query), "headers": {name: request.headers.get(name) for name in names}}
        return JSONResponse(body, 202, {"Location": "/jobs/job-1"})

    @app.post("/classify")
    async def classify(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.get("/weights")
    async def list_weights(request: Request) -> dict[str, Any]:
        sent = [name for name in ("content-length", "content-type") if name in request.headers]
        return {"sent": sent, "bytes": len(await request.body())}

    @app.post("/models/import")
    async def take_weights(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    return app


@pytest.fixture
def service(settings):
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(make_service(), port=port, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    settings.generator_url = settings.classifier_url = settings.evaluator_url = f"http://127.0.0.1:{port}"
    yield server
    server.should_exit = True
    thread.join(timeout=60)


@pytest.fixture
def nobody(settings):
    """No service at all."""
    for name in ("preprocess", "generator", "evaluator", "classifier"):
        setattr(settings, f"{name}_url", f"http://127.0.0.1:{free_port()}")


def test_the_service_learns_who_asks_and_nothing_can_pretend(service, gateway, keys):
    headers = {**keys["alice"], "Idempotency-Key": "k1", "X-SynthMRI-Owner": "team-b", "X-Internal-Token": "guess"}
    headers["X-Request-ID"] = "request-7"
    answer = gateway.post("/generate?class=glioma&n=600&n=1%202", headers=headers)
    assert (answer.status_code, answer.headers["location"]) == (202, "/jobs/job-1")
    sent = answer.json()
    assert sent["query"] == "class=glioma&n=600&n=1%202"
    assert sent["headers"] == {
        "x-internal-token": "tests-internal-token",
        "x-synthmri-owner": "team-a",
        "x-synthmri-key": keys["alice"]["Authorization"].split("_")[1],
        "x-request-id": "request-7",
        "idempotency-key": "k1",
    }
    assert answer.headers["x-request-id"] == "request-7"


def test_a_problem_of_the_service_passes_unchanged(service, gateway, keys):
    answer = gateway.post("/generate?class=none&n=1", headers=keys["alice"])
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == ModelNotFound("There is no model of this class; train one.").problem()


def test_bodies_are_streamed_and_limited(service, gateway, keys, settings):
    assert gateway.post("/classify", content=bytes(3_000_000), headers=keys["reader"]).json() == {"bytes": 3_000_000}
    assert gateway.post("/classify", content=iter([b"a" * 70_000] * 20), headers=keys["reader"]).json() == {
        "bytes": 1_400_000
    }
    large = gateway.post("/generate", content=bytes(1_048_577), headers=keys["alice"])
    assert (large.status_code, large.json()["code"]) == (413, "upload_too_large")
    chunked = gateway.post("/generate", content=iter([bytes(700_000)] * 2), headers=keys["alice"])
    assert (chunked.status_code, chunked.json()["code"]) == (413, "upload_too_large")


def test_a_get_with_a_body_is_forwarded_without_it(service, gateway, keys):
    headers = {**keys["alice"], "Content-Type": "application/json"}
    answer = gateway.request("GET", "/weights", content=b"{}", headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"sent": [], "bytes": 0})


@pytest.mark.parametrize("target", ["/generate?class=glioma#x", "/generate?a#b=c", "/weights/a#b", "/weights/#"])
def test_a_fragment_in_the_request_target_is_refused(service, gateway, keys, target):
    """No browser or client library sends one; httpx would not either."""
    with socket.create_connection((gateway.base_url.host, gateway.base_url.port), timeout=60) as connection:
        authorization = keys["admin"]["Authorization"]
        head = f"POST {target} HTTP/1.1\r\nHost: gateway\r\nAuthorization: {authorization}\r\n"
        connection.sendall(f"{head}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 422 "), answer
    assert b'"code":"request_target_invalid"' in answer


def test_weights_have_the_limit_of_imports(service, gateway, keys, settings):
    settings.import_max_bytes = 100_000
    fits = gateway.post("/models/import", files={"file": ("a.safetensors", bytes(100_000))}, headers=keys["alice"])
    assert (fits.status_code, fits.json()["bytes"] > 100_000) == (200, True)
    large = gateway.post("/models/import", files={"file": ("a.safetensors", bytes(200_000))}, headers=keys["alice"])
    assert (large.status_code, large.json()["code"]) == (413, "upload_too_large")


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/preprocess", "preprocess"),
        ("POST", "/generate", "generator"),
        ("POST", "/evaluate", "evaluator"),
        ("POST", "/scenarios", "classifier"),
        ("GET", "/weights", "evaluator"),
    ],
)
def test_a_service_that_is_down_is_named(nobody, gateway, keys, method, path, name):
    answer = gateway.request(method, path, headers=keys["alice"])
    assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
    assert f"The {name} service" in answer.json()["detail"]
    assert name in gateway.get("/readyz").json()["down"]


def test_ready_when_everything_answers(service, gateway, settings):
    settings.preprocess_url = settings.evaluator_url = settings.generator_url
    body = gateway.get("/readyz").json()
    assert list(body["down"]) == ["sweeper"]
    get_redis().set(HEARTBEAT_KEY, "1")
    ready = gateway.get("/readyz")
    assert (ready.status_code, ready.json()["status"], ready.json()["down"]) == (200, "ready", {})


def test_one_openapi_document(service, gateway):
    document = gateway.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert {"/generate", "/image-sets", "/jobs/{job_id}/events", "/classify"} <= set(document["paths"])
    assert "/livez" in document["paths"]
    generate = document["paths"]["/generate"]["post"]
    assert generate["tags"] == ["generator"]
    assert "Needs the scope `write`." in generate["description"]
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    assert generate["responses"]["422"]["content"]["application/problem+json"] == problem
    assert document["security"] == [{"apiKey": []}]
    assert document["paths"]["/livez"]["get"]["security"] == []


@pytest.mark.parametrize("name", ["Content-Type", "Accept", "If-None-Match"])
def test_a_header_that_is_not_ascii_breaks_nothing(gateway, keys, service, name):
    headers = {**keys["alice"], name: "\u00fc".encode()}
    assert gateway.post("/generate?class=glioma&n=1", headers=headers).status_code == 202


def test_an_idempotency_key_that_is_not_ascii_is_refused(gateway, keys, service):
    answer = gateway.post("/generate?class=glioma&n=1", headers={**keys["alice"], "Idempotency-Key": "\u00fc".encode()})
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_invalid")


@pytest.mark.parametrize("path", ["/generate/", "/jobs/", "/weights/%0a", "/weights/%C3%BC"])
def test_no_answer_redirects(gateway, keys, service, path):
    answer = gateway.post(path, headers=keys["admin"])
    assert answer.status_code in (404, 405, 503)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "location" not in answer.headers
