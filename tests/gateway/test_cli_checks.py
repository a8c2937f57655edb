"""`synthmri audit` and `synthmri exclude`: what they send, seen by a service that listens."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.gateway.test_cli import run

__all__ = ["run"]  # a fixture
pytestmark = [pytest.mark.services, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]


@pytest.fixture
def sent(settings):
    """What reached the evaluator: path and body of each request."""
    received = []

    class Service(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(202)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"id": "job-1"}')

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        settings.evaluator_url = f"http://127.0.0.1:{service.server_port}"
        yield received
        service.shutdown()


def test_an_audit_is_sent_as_it_was_asked_for(run, sent):
    assert run("audit", "set-a", "set-b", "--no-wait").exit_code == 0
    options = ("--class", "glioma", "--checks", "memorisation, shortcuts", "-f", "seed=4", "-f", "split=Testing")
    assert run("audit", "set-a", "set-b", *options, "--no-wait").exit_code == 0
    sets = {"synthetic": "set-a", "real": "set-b"}
    chosen = {"class": "glioma", "checks": ["memorisation", "shortcuts"], "seed": 4, "split": "Testing"}
    assert sent == [("/audit", sets), ("/audit", {**sets, **chosen})]


def test_an_exclusion_names_a_report_or_images(run, sent):
    assert run("exclude", "set-a", "--report", "rep-1", "--name", "clean", "--no-wait").exit_code == 0
    assert run("exclude", "set-a", "--image", "a.png", "--image", "b.png", "--no-wait").exit_code == 0
    path = "/image-sets/set-a/exclude"
    assert sent == [(path, {"report": "rep-1", "name": "clean"}), (path, {"images": ["a.png", "b.png"]})]
