"""Whatever is sent, the answer is a problem document with a code, and says nothing about the inside."""

import pytest

from shared.errors import StorageUnavailable
from shared.objects import ObjectStore
from tests.gateway.pictures import small_set

pytestmark = [pytest.mark.services, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]


def is_problem(response, status, code):
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    body = response.json()
    assert {"type", "title", "status", "code", "detail"} <= set(body)
    assert (body["status"], body["code"]) == (status, code)
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-request-id"]
    return body


def test_unknown_route_and_method(gateway, keys):
    is_problem(gateway.get("/nothing/here", headers=keys["alice"]), 404, "no_such_route")
    is_problem(gateway.put("/jobs", headers=keys["alice"]), 405, "method_not_allowed")


@pytest.mark.parametrize(
    "path", ["/jobs?limit=NaN", "/jobs?limit=1e999", "/image-sets?class=Sarah+Smith", "/jobs?limit=-1"]
)
def test_invalid_parameters_are_not_echoed(gateway, keys, path):
    body = is_problem(gateway.get(path, headers=keys["alice"]), 422, "invalid_request")
    assert body["errors"][0]["field"].startswith("query.")
    assert "Sarah" not in str(body)


def test_an_unexpected_error_is_a_500_without_its_text(gateway, keys, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("secret inside")

    monkeypatch.setattr("shared.jobs.store.JobStore.list", broken)
    body = is_problem(gateway.get("/jobs", headers=keys["alice"]), 500, "internal")
    assert "secret" not in str(body)


def test_object_store_down(gateway, keys, monkeypatch, settings):
    def down(*_, **__):
        raise StorageUnavailable("The object store does not answer; try again in a moment.")

    monkeypatch.setattr(ObjectStore, "_put", down)
    parts = [("file", (name, data)) for name, data in small_set().items()]
    is_problem(gateway.post("/image-sets", files=parts, headers=keys["alice"]), 503, "storage_unavailable")
    assert gateway.get("/image-sets", headers=keys["alice"]).json()["items"] == []
    assert list((settings.data_dir / "tmp").iterdir()) == []
