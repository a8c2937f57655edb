"""The zip of a set, made while it is sent, when whoever reads it goes away."""

import signal
import threading

import pytest

from gateway.archive import stream_archive
from shared.objects import ObjectStore
from tests.gateway.pictures import picture
from tests.support.workers import wait_for

pytestmark = [pytest.mark.services, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]


def test_a_reader_that_leaves_waits_for_no_object_store(objects, settings, s3_server, monkeypatch):
    """The server closes the generator on its event loop, where waiting would stop every other request."""
    blobs = [objects.put_blob(picture(seed)) for seed in range(60)]
    store, fetched = ObjectStore(settings, read_timeout_s=120.0), []
    get_blob = store.get_blob

    def fetch(sha256):
        fetched.append(get_blob(sha256))
        return fetched[-1]

    monkeypatch.setattr(store, "get_blob", fetch)
    stream = stream_archive(store, [{"name": f"{i}.png", "sha256": sha256} for i, sha256 in enumerate(blobs)])
    next(stream)
    wait_for(lambda: len(fetched) > 12)
    s3_server.process.send_signal(signal.SIGSTOP)
    try:
        for _ in range(12):  # what was read ahead; more is asked for meanwhile, and does not come
            next(stream)
        closer = threading.Thread(target=stream.close)
        closer.start()
        closer.join(timeout=60.0)
        assert not closer.is_alive()
    finally:
        s3_server.process.send_signal(signal.SIGCONT)
    closer.join(timeout=60.0)
