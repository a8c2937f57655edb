"""The object store against a real S3 server."""

import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.errors import ObjectDamaged, ObjectNotFound, StorageUnavailable
from shared.objects import ObjectStore, blob_key
from shared.settings import Settings
from tests.support import servers

pytestmark = pytest.mark.services


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestObjectStore:
    def test_a_blob_is_named_by_its_hash_and_comes_back(self, objects: ObjectStore) -> None:
        data = os.urandom(100_000)
        sha256 = objects.put_blob(data)
        assert sha256 == hashlib.sha256(data).hexdigest()
        assert objects.get_blob(sha256) == data
        assert objects.has_blob(sha256)

    def test_writing_twice_is_harmless(self, objects: ObjectStore) -> None:
        assert objects.put_blob(b"same") == objects.put_blob(b"same")
        assert len(list(objects.list("blobs/"))) == 1

    def test_a_damaged_blob_is_reported_and_not_served(self, objects: ObjectStore) -> None:
        sha256 = objects.put_blob(b"good")
        objects.put(blob_key(sha256), b"gOod")
        with pytest.raises(ObjectDamaged):
            objects.get_blob(sha256)

    @pytest.mark.parametrize("size_bytes", [0, 1, 1024**2, 3 * 1024**2 + 1])
    def test_a_blob_comes_back_in_pieces(self, objects: ObjectStore, size_bytes: int) -> None:
        data = os.urandom(size_bytes)
        sha256 = objects.put_blob(data)
        pieces = list(objects.stream_blob(sha256))
        assert b"".join(pieces) == data
        assert max(map(len, pieces), default=0) <= 1024**2
        assert objects.blob_size(sha256) == size_bytes

    def test_a_damaged_blob_is_reported_before_its_last_piece(self, objects: ObjectStore) -> None:
        data = os.urandom(2 * 1024**2)
        sha256 = objects.put_blob(data)
        objects.put(blob_key(sha256), data[:-1] + bytes([data[-1] ^ 1]))
        pieces = objects.stream_blob(sha256)
        assert next(pieces) == data[: 1024**2]
        with pytest.raises(ObjectDamaged):
            next(pieces)
        with pytest.raises(ObjectNotFound):
            next(objects.stream_blob("0" * 64))

    def test_a_missing_key_is_object_not_found(self, objects: ObjectStore) -> None:
        with pytest.raises(ObjectNotFound):
            objects.get("nothing/here")
        assert not objects.has_blob("0" * 64)

    def test_a_missing_bucket_is_made_at_the_first_write(self, settings: Settings) -> None:
        store = ObjectStore(settings.model_copy(update={"s3_bucket": "fresh-bucket"}))
        with pytest.raises(ObjectNotFound):
            store.get("a")
        store.put("a", b"1")
        assert store.get("a") == b"1"

    def test_deleting_removes_and_deleting_again_is_harmless(self, objects: ObjectStore) -> None:
        objects.put("a/b", b"1")
        objects.delete("a/b")
        objects.delete("a/b")
        assert list(objects.list("a/")) == []

    def test_a_server_that_is_down_is_storage_unavailable(self, settings: Settings) -> None:
        nowhere = settings.model_copy(update={"s3_endpoint": f"127.0.0.1:{servers.free_port()}"})
        with pytest.raises(StorageUnavailable):
            ObjectStore(nowhere).put("a", b"1")


def test_writers_that_make_one_folder_at_once_all_succeed(objects: ObjectStore) -> None:
    """`rclone serve s3` answers 500 to a writer whose folder another one is just making."""
    with ThreadPoolExecutor(8) as pool:
        for folder in range(40):
            keys = [f"features/{folder}/new/{k}" for k in range(8)]
            list(pool.map(lambda key: objects.put(key, key.encode()), keys))
    assert all(objects.get(key) == key.encode() for key in keys)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A socket that accepts connections; nobody answers on them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def point_at(server: socket.socket) -> Settings:
    return Settings(environment="development", s3_endpoint=f"127.0.0.1:{server.getsockname()[1]}")


def count_connections(server: socket.socket) -> int:
    """How many connections were made since the last count; they are closed."""
    server.setblocking(False)
    count = 0
    while True:
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_a_silent_server_is_asked_once(listening: socket.socket) -> None:
    store = ObjectStore(point_at(listening), write_timeout_s=0.2, read_timeout_s=0.2, ping_timeout_s=0.2)
    calls = (
        store.ping,
        lambda: store.get("a"),
        lambda: store.get_blob("0" * 64),
        lambda: store.blob_size("0" * 64),
        lambda: next(store.stream_blob("0" * 64)),
        lambda: store.put("a", b"1"),
        lambda: store.delete("a"),
    )
    for call in calls:
        with pytest.raises(StorageUnavailable, match="does not answer"):
            call()
        assert count_connections(listening) == 1


def test_a_ping_waits_less_than_a_read_and_a_read_less_than_a_write(listening: socket.socket) -> None:
    store = ObjectStore(point_at(listening), write_timeout_s=60.0, read_timeout_s=60.0, ping_timeout_s=0.2)
    started = time.monotonic()
    with pytest.raises(StorageUnavailable):
        store.ping()
    assert time.monotonic() - started < 30
    store = ObjectStore(point_at(listening), write_timeout_s=60.0, read_timeout_s=0.2)
    with pytest.raises(StorageUnavailable):
        store.get("a")
    assert time.monotonic() - started < 60


def test_a_connection_that_breaks_is_tried_again(listening: socket.socket) -> None:
    """A server that was started anew leaves broken connections in the pool."""

    def break_and_answer() -> None:
        for answer in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"):
            with listening.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(answer)

    server = threading.Thread(target=break_and_answer, daemon=True)
    server.start()
    ObjectStore(point_at(listening), ping_timeout_s=60.0).ping()
    server.join(timeout=60)
    assert not server.is_alive(), "the second connection was not made"
