"""The object store against a real S3 server."""

import hashlib
import os
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
