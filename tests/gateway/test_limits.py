"""What the guard does when a key asks too often, and when Redis or the database is away."""

import pytest

from shared.database import Database
from shared.errors import DatabaseUnavailable
from shared.queue import get_redis
from tests.gateway.pictures import small_set
from tests.support.servers import free_port

pytestmark = [pytest.mark.services, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]


def test_one_request_above_the_limit(settings, monkeypatch, request):
    monkeypatch.setattr(settings, "rate_limit_per_minute", 5)
    gateway, keys = request.getfixturevalue("gateway"), request.getfixturevalue("keys")
    answers = [gateway.get("/jobs", headers=keys["alice"]) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert answers[-1].json()["code"] == "rate_limited"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 120
    assert gateway.get("/jobs", headers=keys["bob"]).status_code == 200


def test_bad_keys_are_counted_by_address(settings, monkeypatch, request):
    monkeypatch.setattr(settings, "rate_limit_per_minute", 5)
    gateway = request.getfixturevalue("gateway")
    answers = [gateway.get("/jobs", headers={"Authorization": f"Bearer guess-{n}"}) for n in range(6)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]


def test_without_redis_reading_works_and_writing_says_why_not(settings, monkeypatch, request):
    get_redis()  # the fixture empties the real one at the end
    monkeypatch.setattr(settings, "redis_url", f"redis://127.0.0.1:{free_port()}/0")
    gateway, keys = request.getfixturevalue("gateway"), request.getfixturevalue("keys")
    assert gateway.get("/jobs", headers=keys["alice"]).status_code == 200
    parts = [("file", (name, data)) for name, data in small_set().items()]
    answer = gateway.post("/image-sets", files=parts, headers=keys["alice"])
    assert (answer.status_code, answer.json()["code"]) == (503, "queue_unavailable")
    assert gateway.get("/jobs", headers={}).status_code == 401


def test_without_the_database_nobody_is_let_in(gateway, keys, monkeypatch):
    def down(self):
        raise DatabaseUnavailable("The database does not answer; try again in a moment.")

    monkeypatch.setattr(Database, "reading", down)
    answer = gateway.get("/jobs", headers=keys["alice"])
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert gateway.get("/livez").status_code == 200
    assert "database" in gateway.get("/readyz").json()["down"]
