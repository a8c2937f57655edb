"""The object store: image bytes, checkpoints and manifests in any S3 store, through the minio SDK.

Blobs are named by the SHA-256 of their bytes, so writing one twice is harmless and every read can be verified.
Only plain GET, PUT, HEAD, DELETE and LIST are used: servers differ, or do damage, beyond those
(`PUT ?tagging` replaces the body on one of them).
"""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from http import HTTPStatus
from types import TracebackType
from typing import BinaryIO, Self

import urllib3
from minio import Minio
from minio.error import InvalidResponseError, S3Error, ServerError

from shared.errors import ObjectDamaged, ObjectNotFound, StorageFull, StorageUnavailable
from shared.settings import Settings, get_settings

_MISSING = ("NoSuchKey", "NoSuchBucket", "NoSuchObject", "ResourceNotFound")
_FULL = ("XMinioStorageFull", "QuotaExceeded", "InsufficientStorage")
_PART_SIZE_BYTES = 64 * 1024**2
_PIECE_BYTES = 1024**2
CONNECT_TIMEOUT_S = 2.0
WRITE_TIMEOUT_S = 30.0
"""A server may be silent for long while it makes a part of 64 MiB last, or lists many keys."""
READ_TIMEOUT_S = 10.0
PING_TIMEOUT_S = 3.0


class ObjectStore:
    """Objects of one bucket. Thread-safe; connects at its first use.

    Args:
        settings: endpoint, credentials and bucket.
        write_timeout_s: how long the server may be silent in a write or a list, seconds.
        read_timeout_s: the same in a read; so long a request that reads holds its thread.
        ping_timeout_s: the same in `ping`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        write_timeout_s: float = WRITE_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
        ping_timeout_s: float = PING_TIMEOUT_S,
    ) -> None:
        self.bucket = settings.s3_bucket
        self._client = _make_client(settings, write_timeout_s)
        self._reading = _make_client(settings, read_timeout_s)
        self._pinging = _make_client(settings, ping_timeout_s)

    def put_blob(self, data: bytes) -> str:
        """Store `data` under its own hash and return the hash, 64 hexadecimal digits."""
        sha256 = hashlib.sha256(data).hexdigest()
        self.put(blob_key(sha256), data)
        return sha256

    def put_blob_file(self, file: BinaryIO, sha256: str, size_bytes: int) -> None:
        """Store a file of `size_bytes`, whose hash the caller has computed, in parts; it is never whole in memory."""

        def put() -> None:
            file.seek(0)
            with _translated(sha256):
                self._client.put_object(self.bucket, blob_key(sha256), file, size_bytes, part_size=_PART_SIZE_BYTES)

        try:
            put()
        except ObjectNotFound:  # the bucket is missing: a fresh store
            self.ensure_bucket()
            put()

    def get_blob(self, sha256: str) -> bytes:
        """The bytes whose hash is `sha256`.

        Raises:
            ObjectNotFound: there is no such blob.
            ObjectDamaged: the stored bytes have another hash.
        """
        data = self.get(blob_key(sha256))
        if hashlib.sha256(data).hexdigest() != sha256:
            raise _damaged(sha256)
        return data

    def stream_blob(self, sha256: str) -> Iterator[bytes]:
        """The bytes whose hash is `sha256`, in pieces of at most a megabyte; what is returned is only sure at its end.

        Raises:
            ObjectNotFound: there is no such blob.
            ObjectDamaged: the stored bytes have another hash; after the last piece but one.
        """
        digest = hashlib.sha256()
        held = b""
        with _translated(sha256):
            response = self._reading.get_object(self.bucket, blob_key(sha256))
            try:
                while piece := response.read(_PIECE_BYTES):
                    digest.update(piece)
                    if held:
                        yield held
                    held = bytes(piece)
            finally:
                response.close()
                response.release_conn()
        if digest.hexdigest() != sha256:
            raise _damaged(sha256)
        if held:
            yield held

    def blob_size(self, sha256: str) -> int:
        """How many bytes the blob of this hash has.

        Raises:
            ObjectNotFound: there is no such blob.
        """
        with _translated(sha256):
            return int(self._reading.stat_object(self.bucket, blob_key(sha256)).size or 0)

    def has_blob(self, sha256: str) -> bool:
        """Whether a blob of this hash is stored."""
        try:
            self.blob_size(sha256)
        except ObjectNotFound:
            return False
        return True

    def put(self, key: str, data: bytes) -> None:
        """Store `data` under `key`, replacing what was there in one step."""
        try:
            self._put(key, data)
        except ObjectNotFound:  # the bucket is missing: a fresh store
            self.ensure_bucket()
            self._put(key, data)

    def _put(self, key: str, data: bytes) -> None:
        with _translated(key):
            self._client.put_object(self.bucket, key, io.BytesIO(data), len(data), part_size=_PART_SIZE_BYTES)

    def get(self, key: str) -> bytes:
        """The bytes under `key`.

        Raises:
            ObjectNotFound: there is nothing under this key.
        """
        with _translated(key):
            response = self._reading.get_object(self.bucket, key)
            try:
                data = response.read()
            finally:
                response.close()
                response.release_conn()
            return bytes(data)

    def delete(self, key: str) -> None:
        """Remove what is under `key`, if anything is."""
        with _translated(key):
            self._client.remove_object(self.bucket, key)

    def list(self, prefix: str = "") -> Iterator[str]:
        """The keys that begin with `prefix`."""
        with _translated(prefix):
            for item in self._client.list_objects(self.bucket, prefix=prefix, recursive=True):
                yield str(item.object_name)

    def list_older(self, prefix: str, min_age_s: float) -> Iterator[str]:
        """The keys that begin with `prefix` and were last written more than `min_age_s` seconds ago."""
        latest = datetime.now(UTC) - timedelta(seconds=min_age_s)
        with _translated(prefix):
            for item in self._client.list_objects(self.bucket, prefix=prefix, recursive=True):
                if item.last_modified is not None and item.last_modified < latest:
                    yield str(item.object_name)

    def age_s(self, key: str) -> float:
        """How long ago what is under `key` was last written, seconds.

        Raises:
            ObjectNotFound: there is nothing under this key.
        """
        with _translated(key):
            written = self._reading.stat_object(self.bucket, key).last_modified
        return (datetime.now(UTC) - written).total_seconds() if written is not None else 0.0

    def ensure_bucket(self) -> None:
        """Make the bucket if it is missing."""
        with _translated(self.bucket):
            if not self._client.bucket_exists(self.bucket):
                try:
                    self._client.make_bucket(self.bucket)
                except S3Error as error:
                    if error.code not in (
                        "BucketAlreadyOwnedByYou",
                        "BucketAlreadyExists",
                    ):  # another process was first
                        raise

    def ping(self) -> None:
        """Return when the store answers, raise `StorageUnavailable` otherwise."""
        with _translated(self.bucket):
            self._pinging.bucket_exists(self.bucket)


class _Retry(urllib3.Retry):
    """Tries again where the server failed at once: no connection, one that broke, an answer of 500 and above.

    A server that was silent until the time was up is not asked again: four times the wait would hold a thread of the
    gateway for minutes. `read=0` would say so too, but of broken connections as well, which a restart of the server
    leaves in the pool.
    """

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: urllib3.BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: urllib3.connectionpool.ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> Self:
        """What may still be tried after this failure."""
        if isinstance(error, urllib3.exceptions.ReadTimeoutError):
            raise error
        return super().increment(method, url, response, error, _pool, _stacktrace)


def _make_client(settings: Settings, silence_s: float) -> Minio:
    """A client that gives a server up once it has been silent for `silence_s` seconds; it connects at its first use."""
    return Minio(
        settings.s3_endpoint,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key,
        secure=settings.s3_secure,
        region=settings.s3_region,  # named, so that the SDK does not ask the server for it
        http_client=urllib3.PoolManager(
            maxsize=16,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=silence_s),
            # 500: rclone gives it to a writer whose folder another one is just making. What stays 500 is returned.
            retries=_Retry(total=3, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504), raise_on_status=False),
        ),
    )


def blob_key(sha256: str) -> str:
    """The key of the blob with this hash."""
    return f"blobs/sha256/{sha256[:2]}/{sha256}"


def _damaged(sha256: str) -> ObjectDamaged:
    return ObjectDamaged(f"The stored object {sha256[:12]} is damaged; restore it from a backup.")


@contextmanager
def _translated(key: str) -> Iterator[None]:
    """Turn the SDK's three families of errors into ours."""
    try:
        yield
    except S3Error as error:
        if error.code in _MISSING:
            raise ObjectNotFound(f"There is no object {key}.") from error
        if error.code in _FULL:
            raise StorageFull("The object store is full; free some space and try again.") from error
        raise StorageUnavailable(
            f"The object store refused a request ({error.code}); check its log, its credentials and its free space."
        ) from error
    except (InvalidResponseError, ServerError) as error:
        # `rclone serve s3` answers a missing key with a 404 that has no S3 error body.
        status = getattr(error, "status_code", None) or getattr(error, "_code", None)
        if status == HTTPStatus.NOT_FOUND:
            raise ObjectNotFound(f"There is no object {key}.") from error
        if status == HTTPStatus.INSUFFICIENT_STORAGE:
            raise StorageFull("The object store is full; free some space and try again.") from error
        raise StorageUnavailable(
            f"The object store failed (status {status}); look into its log, its disk may be full, and try again."
        ) from error
    except urllib3.exceptions.HTTPError as error:
        raise StorageUnavailable("The object store does not answer; try again in a moment.") from error


@lru_cache
def get_objects() -> ObjectStore:
    """The object store of this process; it connects at its first use."""
    return ObjectStore(get_settings())
