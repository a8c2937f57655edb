"""From a spooled body to a stored image set."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from sqlalchemy.exc import IntegrityError

from gateway.keys import Principal
from gateway.upload.checking import ImageChecker
from gateway.upload.entries import (
    Accepted,
    Refused,
    check_names,
    hash_request,
    image_entry,
    refusal_of,
    summary_of,
    warnings_of,
)
from gateway.upload.errors import EmptyUpload
from gateway.upload.images import CheckedImage, RefusedImage
from gateway.upload.names import Place, is_ignored, place_files, split_path
from gateway.upload.series import find_series
from gateway.upload.spool import SpooledFile, read_slice
from gateway.upload.zips import looks_like_zip, unpack_zip
from shared.artifacts.store import Artifact, ArtifactStore, DraftArtifact
from shared.database import Database
from shared.jobs.idempotency import recall, remember
from shared.objects import ObjectStore
from shared.scans.nifti import SliceChoice
from shared.settings import Settings

_STORE_THREADS: Final = 8
_DEFAULT_CHOICE: Final = SliceChoice()


@dataclass(frozen=True)
class Wish:
    """How the sender wants the upload treated."""

    name: str
    skip_invalid: bool
    idempotency_key: str | None
    slices: SliceChoice = _DEFAULT_CHOICE


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
        good, bad = self._sort(spool, files, wish.slices)
        if bad and not wish.skip_invalid:
            raise refusal_of(bad, len(good))
        if not good:
            raise refusal_of(bad, 0) if bad else EmptyUpload("There is no image in the upload.")
        check_names(good, self.settings.upload_max_entries)
        request_hash = hash_request(good, (wish.name, wish.skip_invalid, asdict(wish.slices)))
        if wish.idempotency_key:
            resource = recall(self.database, principal.owner, wish.idempotency_key, request_hash)
            if resource:
                return self._earlier(resource, principal)
        self._store_blobs(good)
        return self._store_set(good, bad, wish, principal, request_hash)

    def _sort(self, spool: Path, files: list[SpooledFile], choice: SliceChoice) -> tuple[list[Accepted], list[Refused]]:
        paths = [split_path(file.name) for file in files]
        kept = [(file, path) for file, path in zip(files, paths, strict=True) if not is_ignored(path)]
        places = place_files([path for _, path in kept])
        placed = [(file, place) for (file, _), place in zip(kept, places, strict=True) if isinstance(place, Place)]
        bad = [
            Refused(file.name, type(place), place.detail)
            for (file, _), place in zip(kept, places, strict=True)
            if not isinstance(place, Place)
        ]
        good: list[Accepted] = []
        verdicts = self.checker.check(spool, [file for file, _ in placed], choice)
        for (file, place), verdict in zip(placed, verdicts, strict=True):
            if isinstance(verdict, RefusedImage):
                bad.append(Refused(file.name, verdict.error, verdict.detail))
            elif isinstance(verdict, CheckedImage):
                good.append(Accepted(spool, file, place, verdict))
            else:
                good += [Accepted.picture(place, picture) for picture in verdict]
        return sorted(good, key=lambda item: item.place.name), bad

    def _store_blobs(self, good: Sequence[Accepted]) -> None:
        """Put the bytes of every distinct image."""
        distinct = {item.image.sha256: item for item in good}
        spools = {item.spool for item in distinct.values()}
        with _descriptors(spools) as descriptors, ThreadPoolExecutor(_STORE_THREADS) as pool:

            def put(item: Accepted) -> None:
                self.objects.put_blob(read_slice(descriptors[item.spool], item.file.offset, item.file.size))

            futures = [pool.submit(put, item) for item in distinct.values()]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _store_set(
        self, good: Sequence[Accepted], bad: Sequence[Refused], wish: Wish, principal: Principal, request_hash: str
    ) -> Artifact:
        warnings, series = warnings_of(good), find_series(good)
        draft = DraftArtifact(
            noun="image_set",
            kind="raw",
            name=wish.name,
            body={
                "images": [image_entry(item, series.get(item.place.name)) for item in good],
                "recipe": None,
                "skipped": [item.view() for item in bad],
                "warnings": warnings,
            },
            summary=summary_of(good, len(bad)) | {"warnings": warnings},
        )
        request = {"name": wish.name, "skip_invalid": wish.skip_invalid, **asdict(wish.slices)}
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


def _head(spool: Path) -> bytes:
    with spool.open("rb") as file:
        return file.read(4)


@contextmanager
def _descriptors(paths: Iterable[Path]) -> Iterator[dict[Path, int]]:
    with ExitStack() as stack:
        opened = {}
        for path in paths:
            opened[path] = os.open(path, os.O_RDONLY)
            stack.callback(os.close, opened[path])
        yield opened
