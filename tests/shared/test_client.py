"""The client against a server that misbehaves as networks do."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from shared.client import ApiProblem, JobUnsuccessful, SynthMRI
from shared.client_transport import files_of


class Script:
    """Answers each path by a list of canned answers, one per request; the last one repeats."""

    def __init__(self):
        self.answers = {}
        self.requests = []

    def next(self, path):
        answers = self.answers[path.partition("?")[0]]
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture
def script():
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            script.requests.append((self.command, self.path, dict(self.headers), body))
            answer = script.next(self.path)
            if answer == "drop":
                self.connection.close()
                return
            status, media_type, text, *cut = answer
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            if not cut:
                self.send_header("Content-Length", str(len(text)))
            else:
                self.send_header("Content-Length", str(len(text) + 100))  # promises more than comes
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = answer  # noqa: N815 the names that http.server calls

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_port}"
    yield script
    server.shutdown()
    server.server_close()


@pytest.fixture
def client(script):
    with SynthMRI(script.url, "smri_key", patience_s=60) as client:
        yield client


def as_json(body, status=200):
    return status, "application/json", json.dumps(body).encode()


def job(status, done=0):
    return {"id": "job-1", "kind": "k", "status": status, "progress": {"done": done, "total": 3}, "error": None}


def events(*states, cut=False):
    text = ""
    for state in states:
        name = "done" if state["status"] in ("succeeded", "failed") else "progress"
        text += f"event: {name}\r\ndata: {json.dumps(state)}\r\n\r\n: ping\r\n\r\n"
    return (200, "text/event-stream", text.encode(), *(["cut"] if cut else []))


def test_problem_documents_become_exceptions(client, script):
    problem = {"status": 404, "code": "job_not_found", "detail": "There is no job."}
    script.answers["/jobs/job-9"] = [as_json(problem, 404)]
    with pytest.raises(ApiProblem, match="There is no job") as caught:
        client.job("job-9")
    assert (caught.value.status, caught.value.code, caught.value.problem) == (404, "job_not_found", problem)
    assert len(script.requests) == 1


def test_answers_that_are_no_problem_document(client, script):
    script.answers["/jobs/job-9"] = [(418, "text/html", b"<h1>teapot</h1>")]
    with pytest.raises(ApiProblem) as caught:
        client.job("job-9")
    assert caught.value.code == "http_418"


def test_reading_survives_a_restart(client, script):
    script.answers["/jobs/job-1"] = ["drop", as_json({}, 503), as_json(job("queued"))]
    assert client.job("job-1")["status"] == "queued"


def test_a_repeated_post_carries_the_same_idempotency_key(client, script):
    script.answers["/preprocess"] = ["drop", as_json(job("queued"), 202)]
    assert client.preprocess("set-1", "study")["id"] == "job-1"
    sent = [(headers["Idempotency-Key"], body) for _, _, headers, body in script.requests]
    assert len(sent) == 2
    assert sent[0] == sent[1]
    assert json.loads(sent[0][1]) == {"image_set": "set-1", "recipe": "study"}


def test_fields_that_are_none_are_left_out(client, script):
    script.answers["/generate"] = script.answers["/models/diffusion"] = [as_json(job("queued"), 202)]
    client.generate("glioma", 5, seed=None, steps=3)
    client.train_diffusion("set-1", "glioma", epochs=None)
    assert script.requests[0][1] == "/generate?class=glioma&n=5&steps=3"
    assert json.loads(script.requests[1][3]) == {"image_set": "set-1", "class": "glioma"}


def test_nobody_there():
    with SynthMRI("http://127.0.0.1:9", patience_s=0.1) as client, pytest.raises(ApiProblem) as caught:
        client.jobs()
    assert (caught.value.status, caught.value.code) == (0, "unreachable")


def test_waiting_survives_a_cut_stream(client, script):
    script.answers["/jobs/job-1/events"] = [
        events(job("queued"), job("running", 1), cut=True),
        "drop",
        as_json({"code": "x", "detail": "restarting"}, 503),
        events(job("running", 2), job("succeeded", 3)),
    ]
    seen = []
    done = client.wait("job-1", lambda state: seen.append(state["progress"]["done"]))
    assert done["status"] == "succeeded"
    assert seen == [0, 1, 2, 3]


def test_waiting_for_a_job_that_fails(client, script):
    failed = {**job("failed"), "error": {"code": "too_few_images", "detail": "Only 3 images."}}
    script.answers["/jobs/job-1/events"] = [events(failed)]
    with pytest.raises(JobUnsuccessful, match="Only 3 images") as caught:
        client.wait("job-1")
    assert (caught.value.code, caught.value.job) == ("too_few_images", failed)


def test_waiting_for_an_unknown_job_ends(client, script):
    script.answers["/jobs/job-1/events"] = [as_json({"code": "job_not_found", "detail": "No."}, 404)]
    with pytest.raises(ApiProblem, match="No"):
        client.wait("job-1")


def test_a_broken_download_leaves_no_file(client, script, tmp_path):
    script.answers["/image-sets/set-1/archive"] = [
        (200, "application/zip", b"half", "cut"),
        (200, "application/zip", b"whole"),
    ]
    target = tmp_path / "set.zip"
    with pytest.raises(ApiProblem):
        client.download_archive("set-1", target)
    assert list(tmp_path.iterdir()) == []
    assert client.download_archive("set-1", target) == 5
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("set.zip", b"whole")]


def test_upload_sends_every_file_once_by_its_path(client, script, tmp_path):
    for name, data in {"glioma/1.png": b"one", "glioma/2.png": b"two", ".hidden/x": b"x"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    script.answers["/image-sets"] = ["drop", as_json({"id": "set-1"}, 201)]
    reported = []
    assert client.upload(tmp_path, name="n", report=lambda done, total: reported.append((done, total)))["id"] == "set-1"
    _, path, headers, body = script.requests[-1]
    assert path == "/image-sets?name=n"
    assert headers["Authorization"] == "Bearer smri_key"
    assert int(headers["Content-Length"]) == len(body) == reported[-1][0] == reported[-1][1]
    assert body.count(b'name="file"') == 2
    assert b'filename="glioma/1.png"\r\nContent-Type: image/png\r\n\r\none\r\n' in body
    assert body == script.requests[0][3]


def test_files_of_an_empty_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        files_of(tmp_path)


def test_lists_of_images_go_on_to_the_last_page(client, script):
    script.answers["/image-sets/set-1/images"] = [
        as_json({"items": [1, 2], "next_cursor": "c"}),
        as_json({"items": [3], "next_cursor": None}),
    ]
    assert list(client.images("set-1", split="Training")) == [1, 2, 3]
    assert script.requests[1][1] == "/image-sets/set-1/images?limit=500&split=Training&cursor=c"


def test_corrections_keep_their_nulls_and_any_name(client, script):
    script.answers["/image-sets/set-1/images/a%3F/%C3%A9.png"] = [as_json({"plane": None})]
    script.answers["/image-sets/set-1/annotations"] = [as_json({"n_changed": 1})]
    client.correct_image("set-1", "a?/é.png", plane=None)
    client.correct_images("set-1", b"name,plane\n")
    client.correct_images("set-1", [{"name": "a", "group": None}])
    sent = [(method, headers["Content-Type"], body) for method, _, headers, body in script.requests]
    assert [method for method, _, _ in sent] == ["PUT"] * 3
    assert json.loads(sent[0][2]) == {"plane": None}
    assert sent[1][1:] == ("text/csv", b"name,plane\n")
    assert json.loads(sent[2][2]) == {"items": [{"name": "a", "group": None}]}


def test_images_are_fetched_by_any_name(client, script):
    script.answers["/image-sets/set-1/images/glioma/scan%231%3F%25.png"] = [(200, "image/png", b"png")]
    assert client.image("set-1", "glioma/scan#1?%.png", px=96) == b"png"
    assert script.requests[0][1] == "/image-sets/set-1/images/glioma/scan%231%3F%25.png?px=96"


def test_health_answers_when_something_is_down(client, script):
    script.answers["/readyz"] = [as_json({"status": "down", "down": {"redis": "does not answer"}}, 503)]
    assert client.health()["down"] == {"redis": "does not answer"}
