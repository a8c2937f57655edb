"""Library weights: what is known of them, and that nothing but the published file is stored."""

import dataclasses
import hashlib
import inspect
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from services.evaluator.weights import installed as library_weights
from services.evaluator.weights.installed import (
    WeightsHashWrong,
    WeightsSourceUnreachable,
    WeightsTruncated,
    WeightsUnreadable,
)
from services.evaluator.weights.published import KNOWN, UnknownWeights, known_weights
from shared.errors import TooLarge, WeightsNotInstalled
from shared.objects import ObjectStore
from tests.services.evaluator.seeded_weights import inception_pth, vgg19_h5
from tests.support.servers import free_port


def test_sources_are_those_of_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    from keras.src.applications import inception_v3, vgg19
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    inception = KNOWN["inception"]
    assert inception.url == URL_INCEPTION_V3
    assert inception.url.endswith(f"-{inception.digest[:8]}.pth")
    assert KNOWN["vgg19"].url == vgg19.WEIGHTS_PATH_NO_TOP
    assert KNOWN["keras-inception"].url == inception_v3.WEIGHTS_PATH
    assert KNOWN["keras-inception"].digest in inspect.getsource(inception_v3)
    assert KNOWN["vgg19"].digest in inspect.getsource(vgg19)
    assert all(weights.url.endswith("/" + weights.file_name) for weights in KNOWN.values())


def test_unknown_weights_are_named() -> None:
    with pytest.raises(UnknownWeights, match="known are inception, vgg19"):
        known_weights("resnet")


@pytest.mark.services
def test_missing_weights_name_the_command(objects: ObjectStore) -> None:
    with pytest.raises(WeightsNotInstalled, match=r"synthmri weights install inception \[--file ") as caught:
        library_weights.load_weights(objects, "inception")
    assert caught.value.status == 409
    assert [item["installed"] for item in library_weights.list_weights(objects)] == [False] * 3


@pytest.mark.services
def test_the_published_file_is_installed_and_loaded(objects: ObjectStore) -> None:
    data = vgg19_h5()
    published = dataclasses.replace(KNOWN["vgg19"], digest=hashlib.md5(data).hexdigest(), size_bytes=len(data))
    record = library_weights.install_weights(objects, published, data, source="file x.h5")
    assert record["verified"] is True
    loaded = library_weights.load_weights(objects, "vgg19")
    assert hashlib.sha256(loaded).hexdigest() == record["sha256"]
    item = next(item for item in library_weights.list_weights(objects) if item["name"] == "vgg19")
    assert (item["installed"], item["size"], item["sha256"]) == (True, len(loaded), record["sha256"])


@pytest.mark.services
def test_other_files_are_refused_and_nothing_is_stored(objects: ObjectStore) -> None:
    inception = KNOWN["inception"]
    with pytest.raises(WeightsTruncated, match="ends after 1000 bytes"):
        library_weights.install_weights(objects, inception, b"\x00" * 1000, source="")
    with pytest.raises(WeightsHashWrong, match="another hash"):
        library_weights.install_weights(objects, inception, b"\x00" * (inception.size_bytes + 1), source="")
    with pytest.raises(WeightsUnreadable, match=r"no readable \.pth"):
        library_weights.install_weights(objects, inception, b"\x00" * 1000, source="", allow_unverified=True)
    assert list(objects.list()) == []


@pytest.mark.services
def test_unverified_weights_say_so(objects: ObjectStore) -> None:
    record = library_weights.install_weights(
        objects, KNOWN["inception"], inception_pth(), source="seeded", allow_unverified=True
    )
    assert record["verified"] is False
    assert library_weights.list_weights(objects)[0]["verified"] is False


@contextmanager
def serving(body: bytes, *, announced: int | None = None, status: int = 200) -> Iterator[str]:
    """A loopback server that answers every GET with `body`."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if announced is None else announced))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/weights"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def download(url: str, max_bytes: int = 1000) -> bytes:
    weights = dataclasses.replace(KNOWN["inception"], url=url)
    return library_weights.download_weights(weights, timeout_s=60.0, max_bytes=max_bytes)


def test_a_download_arrives_whole() -> None:
    with serving(b"abc" * 100) as url:
        assert download(url) == b"abc" * 100


def test_an_unreachable_source_says_how_else() -> None:
    unreachable = f"http://127.0.0.1:{free_port()}/weights"
    with pytest.raises(WeightsSourceUnreachable, match="synthmri weights install inception --file") as caught:
        download(unreachable)
    assert (caught.value.status, caught.value.code) == (503, "weights_source_unreachable")
    with serving(b"gone", status=404) as url, pytest.raises(WeightsSourceUnreachable):
        download(url)
    with serving(b"half", announced=100) as url, pytest.raises(WeightsSourceUnreachable):
        download(url)


def test_a_download_without_end_is_given_up() -> None:
    with serving(b"x" * 5000) as url, pytest.raises(TooLarge):
        download(url)
