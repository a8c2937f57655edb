"""The command line against a gateway, as a person would use it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.cli_work import read_fields
from shared.jobs.claims import Claims
from shared.jobs.files import JobFile
from shared.jobs.store import NewJob
from tests.gateway.pictures import small_set

pytestmark = [pytest.mark.services, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]


@pytest.fixture
def run(gateway, settings, tmp_path, monkeypatch):
    """Run `synthmri` with these arguments against the gateway; the key is one that the command line made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNTHMRI_URL", str(gateway.base_url))
    runner = CliRunner()

    def invoke(*arguments):
        return runner.invoke(app, [str(argument) for argument in arguments])

    made = invoke("keys", "create", "--name", "cli", "--owner", "team-a", "--scopes", "admin")
    monkeypatch.setenv("SYNTHMRI_API_KEY", made.stdout.strip())
    return invoke


def test_upload_list_download_and_grid(run, tmp_path):
    for name, data in small_set().items():
        path = tmp_path / "scans" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    uploaded = run("upload", "scans")
    assert uploaded.exit_code == 0, uploaded.output
    made = json.loads(uploaded.stdout)
    assert (made["name"], made["n_images"]) == ("scans", 4)
    assert made["id"] in run("sets").stdout
    assert json.loads(run("--json", "sets").stdout)["items"][0]["id"] == made["id"]
    assert "Training/glioma/scan-0.png" in run("images", made["id"], "--split", "Training").stdout
    assert run("download", made["id"], "-o", "set.zip").exit_code == 0
    assert (tmp_path / "set.zip").stat().st_size > 1000
    assert run("grid", made["id"], "-n", "4").exit_code == 0
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")


def test_label_one_image_and_many(run, upload, tmp_path):
    made, name = upload(small_set())["id"], "Training/glioma/scan-0.png"
    one = run("label", made, name, "--plane", "axial", "--group", "p1")
    assert one.exit_code == 0, one.output
    assert json.loads(one.stdout)["plane_source"] == "user"
    (tmp_path / "planes.csv").write_text("image_id,class,plane\nscan-0,glioma,coronal\nscan-1,notumor,axial\n")
    assert json.loads(run("label", made, "--csv", "planes.csv").stdout) == {"n_changed": 2}
    listed = json.loads(run("--json", "annotations", made).stdout)["items"]
    assert [(item["plane"], item["group"]) for item in listed] == [("coronal", "p1"), ("axial", None)]
    assert json.loads(run("label", made, name, "--clear").stdout)["plane"] is None
    assert len(json.loads(run("--json", "annotations", made).stdout)["items"]) == 1
    for wrong in ((), (name,), ("--csv", "planes.csv", "--plane", "axial"), (name, "--csv", "planes.csv")):
        assert run("label", made, *wrong).exit_code == 2


def test_an_error_is_one_sentence_and_exit_code_1(run):
    result = run("job", "job-0")
    assert result.exit_code == 1
    assert result.stderr.strip() == "There is no job 'job-0'; GET /jobs lists yours. [job_not_found]"
    assert result.stdout == ""
    result = run("--key", "smri_wrong", "jobs")
    assert (result.exit_code, "[unauthenticated]" in result.stderr) == (1, True)


def test_json_that_is_none_is_said_to_be_none(run, tmp_path):
    (tmp_path / "mixes.json").write_text("{'a': 1}")
    for arguments in (
        ("preprocess", "set-1", "--recipe", "{name: study}"),
        ("train-classifier", "{real"),
        ("scenario", "set-1", "--compositions", "mixes.json"),
    ):
        result = run(*arguments)
        assert (result.exit_code, "is not JSON" in result.stderr) == (2, True), result.output


def test_scopes_may_have_spaces_between(run):
    assert run("keys", "create", "--name", "two", "--scopes", "read, write").exit_code == 0
    assert run("keys", "create", "--name", "none", "--scopes", "read, all").exit_code == 1


def test_watch_and_cancel_a_job(run, jobs):
    job, _ = jobs.create(NewJob(kind="preprocess", owner="team-a", request={}))
    assert job in run("jobs", "--status", "queued").stdout
    # Two runners at once would fight for the one stdout of this process, so the cancel while watching is the store's.
    cancelling = threading.Timer(0.5, lambda: jobs.cancel(job, "team-a"))
    cancelling.start()
    watched = run("watch", job)
    cancelling.join()
    assert watched.exit_code == 1
    assert run("cancel", job).exit_code == 1, "it is final"
    other, _ = jobs.create(NewJob(kind="preprocess", owner="team-a", request={}))
    assert run("cancel", other).exit_code == 0
    assert "The job was cancelled" in watched.stderr
    again = run("retry", job, "--no-wait")
    assert json.loads(again.stdout)["retry_of"] == job


def test_files_of_a_job_are_listed_and_written(run, jobs, database, objects, tmp_path):
    job, _ = jobs.create(NewJob(kind="preprocess", owner="team-a", request={}))
    claims = Claims(database, 30.0)
    claim = claims.claim(job, 0)
    for name in ("a.json", "b.png"):
        assert claims.publish(claim, JobFile(name, objects.put_blob(name.encode()), 6))
    assert "b.png" in run("job-files", job).stdout
    assert run("job-files", job, "-o", "files").exit_code == 0
    assert [(tmp_path / "files" / name).read_text() for name in ("a.json", "b.png")] == ["a.json", "b.png"]
    assert run("job-files", job, "a.json").exit_code == 0
    assert (tmp_path / "a.json").read_text() == "a.json"
    assert "[job_file_not_found]" in run("job-files", job, "c.png").stderr


def test_keys_are_listed_and_revoked(run):
    key_id = json.loads(run("--json", "keys", "list").stdout)["items"][0]["id"]
    assert run("jobs").exit_code == 0
    assert run("keys", "revoke", key_id).stdout.strip() == f"revoked {key_id}"
    assert "[unauthenticated]" in run("jobs").stderr
    assert "[scope_unknown]" in run("keys", "create", "--name", "x", "--scopes", "root").stderr
    assert "[owner_invalid]" in run("keys", "create", "--name", "x", "--owner", "Zürich").stderr
    assert "[api_key_not_found]" in run("keys", "revoke", "nobody").stderr


def test_health_names_what_is_down(run, settings):
    result = run("health")
    assert result.exit_code == 1
    assert "database" in result.stdout
    assert "generator      does not answer" in result.stdout


def test_a_leakage_waiver_reaches_the_services(run, settings):
    sent = []

    class Service(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            sent.append((self.path, body["leakage_waiver"]))
            self.send_response(202)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"id": "job-1"}')

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        settings.generator_url = settings.classifier_url = f"http://127.0.0.1:{service.server_port}"
        for command in (("train-diffusion", "s", "--class", "glioma"), ("train-classifier", "s"), ("scenario", "s")):
            assert run(*command, "--leakage-waiver", "a replay", "--no-wait").exit_code == 0
        service.shutdown()
    assert sent == [(path, "a replay") for path in ("/models/diffusion", "/models/classifier", "/scenarios")]


def test_fields_are_json_or_text(database_url):
    assert read_fields(["epochs=3", "name=first", 'mix={"a":1}', "note=a=b"]) == {
        "epochs": 3,
        "name": "first",
        "mix": {"a": 1},
        "note": "a=b",
    }
