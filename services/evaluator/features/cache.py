"""Features that were computed before, kept in the object store by extractor, reading and image.

A key is `features/<hash of the weights>/<extractor and version>-<reading>/<sha256 of the image>`, so that features of
other weights, of a changed extractor or of another size are never taken for these. An entry carries the hash of its
own bytes: a damaged one counts as missing and is written anew. Entries are written batch by batch, so that a killed
job does not begin again. The garbage collector removes those whose image or weights are gone.
"""

import hashlib
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from services.evaluator.features.extraction import FeatureExtractor, ImageFeatures, extract_batches
from services.evaluator.features.reading import Reading, read_gray
from services.evaluator.metrics.samples import TooFewImages
from services.evaluator.metrics.selection import Images
from shared.errors import ObjectNotFound
from shared.objects import ObjectStore
from shared.progress import Progress

N_THREADS = 8
"""Requests to the object store at a time: half of its connection pool."""

_HEADER = struct.Struct("<IIB")
_DIGEST_BYTES = 32

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """What is kept of one image.

    Attributes:
        features: (d,) float32.
        probabilities: (c,) float64 in [0, 1], sum 1; c is 0 where the extractor knows no classes.
        constant: whether all pixels have one gray level.
    """

    features: NDArray[np.float32]
    probabilities: NDArray[np.float64]
    constant: bool


@dataclass(frozen=True)
class Measured:
    """Features of one side, in the order of its images, and how they were come by.

    Attributes:
        images: the features.
        n_computed: images that the extractor saw.
        n_from_cache: images whose features were there, or that occur twice.
        n_constant: images without any contrast.
    """

    images: ImageFeatures
    n_computed: int
    n_from_cache: int
    n_constant: int

    @property
    def counters(self) -> dict[str, int]:
        """Both counts, as the report has them."""
        return {"computed": self.n_computed, "from_cache": self.n_from_cache}


def measure_images(
    objects: ObjectStore,
    extractor: FeatureExtractor,
    images: Images,
    *,
    reading: Reading,
    progress: Progress,
    done_before: int,
    total: int,
) -> Measured:
    """The features of stored images: from the cache, or computed once and kept.

    Args:
        objects: where images and features are.
        extractor: the feature space.
        images: entries of a manifest.
        reading: the size that the extractor gets, and how images are brought to it.
        progress: told how many images are finished; asked before each batch whether to go on.
        done_before: images that other calls of the same job have finished.
        total: images of the whole job.

    Raises:
        TooFewImages: there is no image.
        ImageUnreadable, ColourImages: a stored image cannot be used.
    """
    if not images:
        raise TooFewImages("There is no image to take features of.")
    names = {image["sha256"]: image["name"] for image in images}
    pool = ThreadPoolExecutor(N_THREADS, thread_name_prefix="features")
    try:
        found = _look_up(pool, objects, extractor, reading, list(names), progress)
        missing = [sha256 for sha256 in names if sha256 not in found]
        # A missing image is counted when it is computed; a repeated one is finished with its first copy.
        done = done_before + len(images) - len(missing)
        progress.update(done, total)
        wanted = [(sha256, names[sha256]) for sha256 in missing]
        found |= _compute(pool, objects, extractor, reading, wanted, progress, done, total)
    finally:
        pool.shutdown(cancel_futures=True)
    entries = [found[image["sha256"]] for image in images]
    stacked = ImageFeatures(
        np.stack([entry.features for entry in entries]), np.stack([entry.probabilities for entry in entries])
    )
    return Measured(stacked, len(missing), len(images) - len(missing), sum(entry.constant for entry in entries))


def entry_key(extractor: FeatureExtractor, reading: Reading, sha256: str) -> str:
    """The key under which the features of the image of this hash are kept."""
    return f"features/{extractor.sha256}/{extractor.name}-{extractor.version}-{reading.name}/{sha256}"


def pack_entry(entry: Entry) -> bytes:
    """The bytes of an entry: their SHA-256, two lengths and a flag, the numbers, little-endian."""
    body = _HEADER.pack(len(entry.features), len(entry.probabilities), entry.constant)
    body += entry.features.astype("<f4").tobytes() + entry.probabilities.astype("<f8").tobytes()
    return hashlib.sha256(body).digest() + body


def unpack_entry(data: bytes) -> Entry | None:
    """The entry, or None where the bytes are damaged."""
    digest, body = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest or len(body) < _HEADER.size:
        return None
    n_features, n_classes, constant = _HEADER.unpack_from(body)
    split = _HEADER.size + 4 * n_features
    if len(body) != split + 8 * n_classes:
        return None
    features = np.frombuffer(body[_HEADER.size : split], "<f4").astype(np.float32)
    return Entry(features, np.frombuffer(body[split:], "<f8").astype(np.float64), bool(constant))


def _look_up(
    pool: ThreadPoolExecutor,
    objects: ObjectStore,
    extractor: FeatureExtractor,
    reading: Reading,
    hashes: Sequence[str],
    progress: Progress,
) -> dict[str, Entry]:
    """The entries that are there and whole, by image."""

    def read(sha256: str) -> Entry | None:
        try:
            return unpack_entry(objects.get(entry_key(extractor, reading, sha256)))
        except ObjectNotFound:
            return None

    found = {}
    for sha256, entry in zip(hashes, _ahead(pool, read, hashes), strict=True):
        progress.raise_if_cancelled()
        if entry is not None:
            found[sha256] = entry
    return found


def _compute(
    pool: ThreadPoolExecutor,
    objects: ObjectStore,
    extractor: FeatureExtractor,
    reading: Reading,
    wanted: Sequence[tuple[str, str]],
    progress: Progress,
    done: int,
    total: int,
) -> dict[str, Entry]:
    """Entries of images (hash, name) that are not in the cache yet, and now are."""
    constant: list[bool] = []

    def read(image: tuple[str, str]) -> NDArray[np.uint8]:
        sha256, name = image
        return read_gray(objects.get_blob(sha256), name, reading)

    def read_all() -> Iterator[NDArray[np.uint8]]:
        for pixels_u8 in _ahead(pool, read, wanted):
            constant.append(bool(pixels_u8.min() == pixels_u8.max()))
            yield pixels_u8

    def write(made: tuple[str, Entry]) -> None:
        sha256, entry = made
        # What is not a number is refused by the metrics; it must not come back as if it were known to be right.
        if np.isfinite(entry.features).all():
            objects.put(entry_key(extractor, reading, sha256), pack_entry(entry))

    entries: dict[str, Entry] = {}
    for batch in extract_batches(extractor, read_all(), progress=progress, done_before=done, total=total):
        made: dict[str, Entry] = {}
        for features, probabilities in zip(batch.features, batch.probabilities, strict=True):
            row = len(entries) + len(made)
            made[wanted[row][0]] = Entry(features, probabilities, constant[row])
        list(pool.map(write, made.items()))
        entries |= made
    return entries


def _ahead(pool: ThreadPoolExecutor, work: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """What `work` makes of each item, in order; threads are a few items ahead of whoever takes the results."""
    remaining = iter(items)
    running: deque[Future[T]] = deque(pool.submit(work, item) for item in islice(remaining, 4 * N_THREADS))
    while running:
        result = running.popleft().result()
        running.extend(pool.submit(work, item) for item in islice(remaining, 1))
        yield result
