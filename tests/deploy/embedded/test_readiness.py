import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy.embedded.console import CannotStart
from deploy.embedded.folder import DataFolder
from deploy.embedded.readiness import MOST_RESTARTS, RestartWatch, tail, what_is_down
from deploy.embedded.status import save_openapi
from deploy.embedded.supervision import ProcessState


class Answer(BaseHTTPRequestHandler):
    status, body = 200, b"{}"

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"status": "ready"}, []),
        (503, {"code": "not_ready", "down": ["classifier", "s3"]}, ["classifier", "s3"]),
        (503, {"code": "not_ready"}, ["gateway"]),
        (500, "no object", ["gateway"]),
    ],
)
def test_readyz_names_what_is_down(
    url: str, status: int, body: object, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answer, "status", status)
    monkeypatch.setattr(Answer, "body", json.dumps(body).encode())
    assert what_is_down(url, timeout_s=60) == expected


def test_a_proxy_is_not_asked_for_what_is_on_this_machine(
    url: str, folder: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that nobody answers at stands for one that cannot see this machine's own addresses."""
    monkeypatch.setattr("urllib.request._opener", None)  # urlopen reads the environment at its first call only
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert what_is_down(url, timeout_s=60) == []
    monkeypatch.setattr(Answer, "body", b'{"paths": {"/jobs": {}}}')
    folder.write_state({"url": url})
    with folder.platform_lock():
        save_openapi({"SYNTHMRI_DATA_DIR": str(folder.root)}, tmp_path / "openapi.json")
    assert json.loads((tmp_path / "openapi.json").read_text()) == {"paths": {"/jobs": {}}}


def test_no_connection_means_the_gateway_is_down() -> None:
    assert what_is_down("http://127.0.0.1:9") == ["gateway"]


def test_watch_gives_up_on_a_process_that_keeps_dying_and_shows_its_log(folder: DataFolder) -> None:
    (folder.logs / "s3.log").write_text("first\nfatal: no such disk\n")
    starts = iter(range(1, 100))
    watch = RestartWatch(folder, read=lambda _: [ProcessState("s3", "RUNNING", 7, float(next(starts)))])
    with folder.platform_lock():
        for _ in range(MOST_RESTARTS + 1):
            watch.check()
        with pytest.raises(CannotStart, match=r"(?s)process s3 keeps dying.*fatal: no such disk"):
            watch.check()


def test_watch_notices_that_supervisord_is_gone(folder: DataFolder) -> None:
    with pytest.raises(CannotStart, match="Supervisord ended"):
        RestartWatch(folder, read=lambda _: []).check()


def test_tail_shows_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"line {index}\n" for index in range(100)))
    assert tail(path, 2) == "    line 98\n    line 99"
    assert "empty" in tail(tmp_path / "absent")
