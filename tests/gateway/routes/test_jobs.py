import json
import time

import pytest
from sqlalchemy import text, update

from gateway.keys import ApiKeyRow
from shared.jobs.claims import Claims
from shared.jobs.files import JobFile
from shared.jobs.store import NewJob

pytestmark = [pytest.mark.services, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]


@pytest.fixture
def job(jobs):
    """A queued job of Alice's team."""
    return jobs.create(
        NewJob(kind="preprocess", owner="team-a", request={"image_set": "set-1"}, total=3, unit="image")
    )[0]


def test_list_get_and_not_modified(gateway, keys, job):
    listed = gateway.get("/jobs", headers=keys["alice"])
    assert [item["id"] for item in listed.json()["items"]] == [job]
    single = gateway.get(f"/jobs/{job}", headers=keys["alice"])
    assert (single.json()["status"], single.json()["progress"]["unit"]) == ("queued", "image")
    for answer in (listed, single):
        again = gateway.get(answer.request.url, headers={**keys["alice"], "If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    gateway.post(f"/jobs/{job}/cancel", headers=keys["alice"])
    changed = gateway.get("/jobs", headers={**keys["alice"], "If-None-Match": listed.headers["etag"]})
    assert changed.json()["items"][0]["status"] == "cancelled"


def test_filters(gateway, keys, job):
    def found(**params):
        return len(gateway.get("/jobs", params=params, headers=keys["alice"]).json()["items"])

    assert (found(status="queued"), found(status="failed"), found(kind="preprocess"), found(kind="x")) == (1, 0, 1, 0)
    assert gateway.get("/jobs", params={"status": "lost"}, headers=keys["alice"]).status_code == 422
    assert gateway.get("/jobs", params={"limit": 0}, headers=keys["alice"]).status_code == 422


def test_a_repeated_cancel_under_the_same_key_answers_the_same(gateway, keys, job):
    headers = {**keys["alice"], "Idempotency-Key": "cancel-once"}
    first, again = (gateway.post(f"/jobs/{job}/cancel", headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()


def test_a_cancel_whose_key_cannot_be_recorded_cancels_nothing(gateway, keys, job, database):
    """The key and the cancel are one change: sent again, the same request does what the first could not."""
    with database.writing() as session:
        session.execute(text("CREATE TRIGGER refuse BEFORE INSERT ON idempotency BEGIN SELECT RAISE(ABORT, 'no'); END"))
    headers = {**keys["alice"], "Idempotency-Key": "cancel-once"}
    assert gateway.post(f"/jobs/{job}/cancel", headers=headers).status_code == 500
    assert gateway.get(f"/jobs/{job}", headers=keys["alice"]).json()["status"] == "queued"
    with database.writing() as session:
        session.execute(text("DROP TRIGGER refuse"))
    for _ in range(2):
        again = gateway.post(f"/jobs/{job}/cancel", headers=headers)
        assert (again.status_code, again.json()["status"]) == (200, "cancelled")


def test_a_key_without_a_name_for_its_owner_retries_no_other_teams_job(gateway, keys, job, jobs, database):
    jobs.cancel(job, "team-a")
    with database.writing() as session:
        session.execute(update(ApiKeyRow).where(ApiKeyRow.owner == "team-b").values(owner=""))
    refused = gateway.post(f"/jobs/{job}/retry", headers=keys["bob"])
    assert (refused.status_code, refused.json()["code"]) == (404, "job_not_found")


def test_an_administrator_retries_any_teams_job_for_that_team(gateway, keys, job, jobs):
    jobs.cancel(job, "team-a")
    retried = gateway.post(f"/jobs/{job}/retry", headers=keys["admin"])
    assert retried.status_code == 202
    assert gateway.get(f"/jobs/{retried.json()['id']}", headers=keys["alice"]).json()["retry_of"] == job


def test_cancel_then_retry(gateway, keys, job):
    assert gateway.post(f"/jobs/{job}/retry", headers=keys["alice"]).json()["code"] == "job_not_finished"
    cancelled = gateway.post(f"/jobs/{job}/cancel", headers=keys["alice"])
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    again = gateway.post(f"/jobs/{job}/cancel", headers=keys["alice"])
    assert (again.status_code, again.json()["code"]) == (409, "job_already_finished")
    headers = {**keys["alice"], "Idempotency-Key": "retry-1"}
    retried = gateway.post(f"/jobs/{job}/retry", headers=headers)
    assert retried.status_code == 202
    assert retried.headers["location"] == f"/jobs/{retried.json()['id']}"
    assert retried.json()["retry_of"] == job
    assert gateway.post(f"/jobs/{job}/retry", headers=headers).json()["id"] == retried.json()["id"]


@pytest.mark.parametrize("path", ["", "/events"])
def test_unknown_job(gateway, keys, path):
    response = gateway.get(f"/jobs/job-0{path}", headers=keys["alice"])
    assert (response.status_code, response.json()["code"]) == (404, "job_not_found")


def test_events_end_with_done(gateway, keys, job, jobs):
    seen = []
    with gateway.stream("GET", f"/jobs/{job}/events", headers=keys["reader"]) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line.startswith("event: "):
                seen.append(line.removeprefix("event: "))
            if line.startswith("data: "):
                last = json.loads(line.removeprefix("data: "))
                if seen == ["progress"]:
                    jobs.cancel(job, "team-a")
    assert seen[0] == "progress"
    assert seen[-1] == "done"
    assert seen.count("done") == 1
    assert (last["id"], last["status"]) == (job, "cancelled")


def test_events_of_a_finished_job_are_one_done(gateway, keys, job, jobs):
    jobs.cancel(job, "team-a")
    started = time.monotonic()
    text = gateway.get(f"/jobs/{job}/events", headers=keys["alice"]).text
    assert time.monotonic() - started < 30
    assert text.count("event: ") == 1
    assert "event: done" in text


def test_files_of_a_running_job(gateway, keys, job, jobs, database, objects):
    claims = Claims(database, 30.0)
    claim = claims.claim(job, 0)

    def show(data):
        assert claims.publish(claim, JobFile("epoch-1.png", objects.put_blob(data), len(data)))

    show(b"one")
    listed = gateway.get(f"/jobs/{job}", headers=keys["alice"]).json()["files"]
    assert [(file["name"], file["size_bytes"]) for file in listed] == [("epoch-1.png", 3)]
    first = gateway.get(listed[0]["url"], headers=keys["reader"])
    assert (first.status_code, first.content, first.headers["content-type"]) == (200, b"one", "image/png")
    known = {**keys["alice"], "If-None-Match": first.headers["etag"]}
    assert gateway.get(listed[0]["url"], headers=known).status_code == 304
    show(b"two")
    assert gateway.get(listed[0]["url"], headers=known).content == b"two"
    jobs.cancel(job, "team-a")
    assert gateway.get(listed[0]["url"], headers=keys["alice"]).content == b"two"
    unknown = gateway.get(f"/jobs/{job}/files/epoch-2.png", headers=keys["alice"])
    assert (unknown.status_code, unknown.json()["code"]) == (404, "job_file_not_found")
    assert "it has epoch-1.png." in unknown.json()["detail"]
    foreign = gateway.get(listed[0]["url"], headers=keys["bob"])
    assert (foreign.status_code, foreign.json()["code"]) == (404, "job_not_found")
