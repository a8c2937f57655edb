"""The authorization matrix: every route of the gateway against every kind of caller."""

import socket

import pytest

from gateway.app import ROUTERS
from gateway.auth import needed_scope
from gateway.keys import revoke_key
from shared.jobs.store import NewJob
from tests.gateway.pictures import small_set

pytestmark = [pytest.mark.services, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]

OPEN = {"/livez", "/readyz", "/openapi.json", "/docs", "/docs/{name}"}


ROUTES = sorted((method, route.path) for router in ROUTERS for route in router.routes for method in route.methods)


def filled(path):
    for name in ("image_set_id", "model_id", "report_id", "job_id", "name:path", "name"):
        path = path.replace("{" + name + "}", "unknown")
    return path


def bad_keys(good):
    secret = good["Authorization"].removeprefix("Bearer ")
    return {
        "none": {},
        "empty": {"Authorization": ""},
        "basic": {"Authorization": f"Basic {secret}"},
        "unknown": {"Authorization": "Bearer smri_000000000000_" + "a" * 64},
        "one letter more": {"Authorization": f"Bearer {secret}x"},
        "prefix": {"Authorization": f"Bearer {secret[:-1]}"},
        "other case": {"Authorization": f"Bearer {secret.swapcase()}"},
        "not ASCII": {"Authorization": "Bearer smri_\u00e9".encode()},
    }


def test_no_valid_key_no_answer(gateway, keys):
    paths = {path for _, path in ROUTES}
    assert {"/image-sets", "/jobs/{job_id}/events", "/generate", "/weights/{name}", "/metrics"} <= paths
    guarded = [(method, filled(path)) for method, path in ROUTES if path not in OPEN]
    for method, path in guarded:
        response = gateway.request(method, path)
        assert (response.status_code, response.json()["code"]) == (401, "unauthenticated"), path
        assert response.headers["www-authenticate"].startswith("Bearer")
    for name, headers in bad_keys(keys["alice"]).items():
        assert gateway.get("/jobs", headers=headers).status_code == 401, name
    two = [("Authorization", keys["alice"]["Authorization"]), ("Authorization", keys["alice"]["Authorization"])]
    assert gateway.get("/jobs", headers=two).status_code == 401
    assert gateway.get("/jobs", params={"key": keys["alice"]["Authorization"]}).status_code == 401


def test_open_routes_need_no_key(gateway):
    assert gateway.get("/livez").json() == {"status": "alive"}
    assert gateway.get("/readyz").status_code in (200, 503)
    assert gateway.get("/openapi.json").status_code == 200
    assert "/docs/swagger-ui-bundle.js" in gateway.get("/docs").text
    assert gateway.get("/docs/swagger-ui-bundle.js").headers["content-type"].startswith("text/javascript")


def test_revoked_key_is_refused_at_once(gateway, keys, database):
    assert gateway.get("/jobs", headers=keys["alice"]).status_code == 200
    revoke_key(database, keys["alice"]["Authorization"].split("_")[1])
    assert gateway.get("/jobs", headers=keys["alice"]).status_code == 401


def test_reading_key_changes_nothing(gateway, keys):
    for method, path in ROUTES:
        if path in OPEN or needed_scope(method, path) == "read":
            continue
        response = gateway.request(method, filled(path), headers=keys["reader"])
        assert (response.status_code, response.json()["code"]) == (403, "forbidden"), path


def test_the_platform_itself_is_for_administrators(gateway, keys):
    assert gateway.get("/metrics", headers=keys["alice"]).status_code == 403
    assert gateway.post("/weights/inception", headers=keys["alice"]).status_code == 403
    metrics = gateway.get("/metrics", headers=keys["admin"])
    assert metrics.status_code == 200
    assert 'synthmri_queue_messages{queue="diffusion.sample"} 0.0' in metrics.text


def test_other_teams_things_look_as_if_they_were_not_there(gateway, keys, upload, jobs):
    made = upload(small_set())
    job_id, _ = jobs.create(NewJob(kind="preprocess", owner="team-a", request={}))
    mine = [
        ("GET", made["url"]),
        ("GET", f"{made['url']}/images"),
        ("GET", f"{made['url']}/images/Training/glioma/scan-0.png"),
        ("GET", f"{made['url']}/archive"),
        ("GET", f"{made['url']}/grid.png"),
        ("GET", f"/jobs/{job_id}"),
        ("POST", f"/jobs/{job_id}/retry"),
        ("POST", f"/jobs/{job_id}/cancel"),
    ]
    for method, path in mine:
        foreign = gateway.request(method, path, headers=keys["bob"])
        missing = gateway.request(
            method, path.replace(made["id"], "set-0").replace(job_id, "job-0"), headers=keys["bob"]
        )
        assert foreign.status_code == missing.status_code == 404, path
        assert foreign.json()["code"] == missing.json()["code"]
    assert gateway.get(f"/jobs/{job_id}/events", headers=keys["bob"]).status_code == 404
    for path in ("/image-sets", "/jobs"):
        assert gateway.get(path, headers=keys["bob"]).json() == {"items": [], "next_cursor": None}
        assert len(gateway.get(path, headers=keys["reader"]).json()["items"]) == 1
        assert len(gateway.get(path, headers=keys["admin"]).json()["items"]) == 1


def test_bad_key_is_answered_before_the_body_comes(gateway, settings):
    host, port = gateway.base_url.host, gateway.base_url.port
    head = (
        "POST /image-sets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer nonsense\r\n"
        "Content-Type: application/zip\r\nContent-Length: 104857600\r\n\r\n"
    )
    with socket.create_connection((host, port), timeout=30) as connection:
        connection.sendall(head.encode() + bytes(1000))
        answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 401")
    assert not (settings.data_dir / "tmp").exists()
