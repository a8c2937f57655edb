"""From a spooled body to a stored image set."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy.exc import IntegrityError

from gateway.keys import Principal
from gateway.upload.checking import ImageChecker
from gateway.upload.errors import BadFiles, EmptyUpload
from gateway.upload.images import CheckedImage, RefusedImage
from gateway.upload.names import Place, is_ignored, place_files, split_path
from gateway.upload.spool import SpooledFile, read_slice
from gateway.upload.zips import looks_like_zip, unpack_zip
from shared.artifacts.store import Artifact, ArtifactStore, DraftArtifact
from shared.database import Database
from shared.errors import SynthMRIError
from shared.jobs.idempotency import recall, remember
from shared.objects import ObjectStore
from shared.settings import Settings

_NAMED_FILES: Final = 20
_STORE_THREADS: Final = 8


@dataclass(frozen=True)
class Wish:
    """How the sender wants the upload treated."""

    name: str
    skip_invalid: bool
    idempotency_key: str | None


@dataclass(frozen=True)
class _Good:
    """A file that becomes an image of the set."""

    file: SpooledFile
    place: Place
    image: CheckedImage


@dataclass(frozen=True)
class _Bad:
    """A file that cannot."""

    name: str
    error: type[SynthMRIError]
    detail: str

    def view(self) -> dict[str, str]:
        return {"name": self.name, "code": self.error(self.detail).code, "detail": self.detail}


@dataclass(frozen=True)
class Intake:
    """Where uploads go."""

    settings: Settings
    checker: ImageChecker
    database: Database
    objects: ObjectStore
    artifacts: ArtifactStore

    def take(self, spool: Path, files: list[SpooledFile], wish: Wish, principal: Principal) -> Artifact:
        """Check every file of the spool and store them as one image set.

        Raises:
            InvalidInput: something is wrong with the upload; nothing was stored.
            IdempotencyKeyReused: the key came before with other files.
        """
        if len(files) == 1 and looks_like_zip(files[0].name, _head(spool)):
            target = spool.with_name("unpacked")
            files, spool = unpack_zip(spool, target, self.settings), target
        good, bad = self._sort(spool, files)
        if bad and not wish.skip_invalid:
            raise _refusal(bad, len(good))
        if not good:
            raise _refusal(bad, 0) if bad else EmptyUpload("There is no image in the upload.")
        request_hash = _hash(good, wish)
        if wish.idempotency_key:
            resource = recall(self.database, principal.owner, wish.idempotency_key, request_hash)
            if resource:
                return self._earlier(resource, principal)
        self._store_blobs(spool, good)
        return self._store_set(good, bad, wish, principal, request_hash)

    def _sort(self, spool: Path, files: list[SpooledFile]) -> tuple[list[_Good], list[_Bad]]:
        paths = [split_path(file.name) for file in files]
        kept = [(file, path) for file, path in zip(files, paths, strict=True) if not is_ignored(path)]
        places = place_files([path for _, path in kept])
        placed = [(file, place) for (file, _), place in zip(kept, places, strict=True) if isinstance(place, Place)]
        bad = [
            _Bad(file.name, type(place), place.detail)
            for (file, _), place in zip(kept, places, strict=True)
            if not isinstance(place, Place)
        ]
        good = []
        verdicts = self.checker.check(spool, [file for file, _ in placed])
        for (file, place), verdict in zip(placed, verdicts, strict=True):
            if isinstance(verdict, RefusedImage):
                bad.append(_Bad(file.name, verdict.error, verdict.detail))
            else:
                good.append(_Good(file, place, verdict))
        return sorted(good, key=lambda item: item.place.name), bad

    def _store_blobs(self, spool: Path, good: Sequence[_Good]) -> None:
        """Put the original bytes of every distinct image."""
        distinct = {item.image.sha256: item.file for item in good}
        with _descriptor(spool) as descriptor, ThreadPoolExecutor(_STORE_THREADS) as pool:

            def put(file: SpooledFile) -> None:
                self.objects.put_blob(read_slice(descriptor, file.offset, file.size))

            futures = [pool.submit(put, file) for file in distinct.values()]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _store_set(
        self, good: Sequence[_Good], bad: Sequence[_Bad], wish: Wish, principal: Principal, request_hash: str
    ) -> Artifact:
        draft = DraftArtifact(
            noun="image_set",
            kind="raw",
            name=wish.name,
            body={"images": [_image(item) for item in good], "recipe": None, "skipped": [item.view() for item in bad]},
            summary=_summary(good, len(bad)),
        )
        request = {"name": wish.name, "skip_invalid": wish.skip_invalid}
        row = self.artifacts.write_manifest(draft, owner=principal.owner, request=request)
        try:
            with self.database.writing() as session:
                session.add(row)
                if wish.idempotency_key:
                    remember(session, principal.owner, wish.idempotency_key, request_hash, f"image-sets/{row.id}")
        except IntegrityError:  # a request with the same key was faster
            resource = recall(self.database, principal.owner, wish.idempotency_key or "", request_hash)
            if resource is None:
                raise
            return self._earlier(resource, principal)
        return self.artifacts.get(row.id, principal.owner, "image_set")

    def _earlier(self, resource: str, principal: Principal) -> Artifact:
        return self.artifacts.get(resource.removeprefix("image-sets/"), principal.owner, "image_set")


def _refusal(bad: Sequence[_Bad], n_good: int) -> SynthMRIError:
    """One error for all bad files: of their own class if they share one, naming the first twenty."""
    shared = {item.error for item in bad}
    error = shared.pop() if len(shared) == 1 else BadFiles
    first = bad[0]
    detail = f"{first.name!r}: {first.detail}"
    if len(bad) > 1 or n_good:
        detail = (
            f"{len(bad)} of {len(bad) + n_good} files cannot be used, so nothing was stored; mend or remove them, or "
            f"upload with ?skip_invalid=true. The first is {detail}"
        )
    extra: dict[str, Any] = {"n_bad": len(bad), "files": [item.view() for item in bad[:_NAMED_FILES]]}
    return error(detail, **extra)


def _summary(good: Sequence[_Good], n_skipped: int) -> dict[str, Any]:
    classes = Counter(str(item.place.tumour_class) for item in good)
    splits = Counter(str(item.place.split) for item in good if item.place.split)
    return {"n_images": len(good), "classes": dict(classes), "splits": dict(splits), "n_skipped": n_skipped}


def _image(item: _Good) -> dict[str, Any]:
    return {
        "name": item.place.name,
        "class": str(item.place.tumour_class),
        "split": str(item.place.split) if item.place.split else None,
        "plane": None,
        "sha256": item.image.sha256,
        "width": item.image.width,
        "height": item.image.height,
        "source": None,
        "parameters": {"format": item.image.format, "mode": item.image.mode},
    }


def _hash(good: Sequence[_Good], wish: Wish) -> str:
    """The hash of what was asked for; a repeated multipart body has another boundary, so names and contents count."""
    facts = [wish.name, wish.skip_invalid, [(item.place.name, item.image.sha256) for item in good]]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _head(spool: Path) -> bytes:
    with spool.open("rb") as file:
        return file.read(4)


@contextmanager
def _descriptor(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
