"""Features are computed once for each image, whatever becomes of the cache, and are the same from either side."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from services.evaluator.features.cache import Entry, Measured, entry_key, measure_images, pack_entry, unpack_entry
from services.evaluator.features.extraction import ImageFeatures
from services.evaluator.features.reading import ColourImages, Reading
from services.evaluator.metrics.frechet import frechet_distance
from services.evaluator.metrics.samples import TooFewImages
from shared.objects import ObjectStore
from shared.progress import Cancelled, NoProgress, Progress
from tests.services.evaluator.image_sets import encode

pytestmark = pytest.mark.services
SIZE = Reading((16, 16))


@dataclass
class Projection:
    """A seeded linear map of the pixels, and how many images it has seen."""

    sha256: str = "a" * 64
    batch_size: int = 4
    name: str = "projection"
    version: int = 1
    n_seen: int = 0
    matrix: NDArray[np.float32] = field(
        default_factory=lambda: np.random.default_rng(0).normal(size=(256, 12)).astype(np.float32)
    )

    def extract_batch(self, images_u8: NDArray[np.uint8]) -> ImageFeatures:
        self.n_seen += len(images_u8)
        # One row at a time: like a network's, a row's features do not depend on its neighbours.
        rows = [image.reshape(1, -1).astype(np.float32) @ self.matrix for image in images_u8]
        return ImageFeatures(np.concatenate(rows), np.full((len(images_u8), 4), 0.25))


def pixels(n: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, 16, 16), dtype=np.uint8)


def store(objects: ObjectStore, images_u8: NDArray[np.uint8]) -> list[dict[str, Any]]:
    return [{"name": f"{i}.png", "sha256": objects.put_blob(encode(image))} for i, image in enumerate(images_u8)]


def measure(
    objects: ObjectStore,
    extractor: Projection,
    images: list[dict[str, Any]],
    reading: Reading = SIZE,
    progress: Progress | None = None,
) -> Measured:
    progress = progress or NoProgress()
    return measure_images(
        objects, extractor, images, reading=reading, progress=progress, done_before=0, total=len(images)
    )


def test_a_second_measurement_computes_nothing_and_gives_the_same(objects: ObjectStore) -> None:
    extractor, images_u8 = Projection(), pixels(11, 1)
    images = store(objects, images_u8)
    first, second = (measure(objects, extractor, images) for _ in range(2))
    assert first.counters == {"computed": 11, "from_cache": 0}
    assert second.counters == {"computed": 0, "from_cache": 11}
    assert extractor.n_seen == 11
    assert np.array_equal(first.images.features, second.images.features)
    assert np.array_equal(first.images.probabilities, second.images.probabilities)
    assert np.array_equal(first.images.features, extractor.extract_batch(images_u8).features)


def test_only_new_images_are_computed_and_the_order_is_kept(objects: ObjectStore) -> None:
    extractor = Projection()
    images = store(objects, pixels(9, 1))
    measure(objects, extractor, images[::2])
    found = measure(objects, extractor, images)
    assert found.counters == {"computed": 4, "from_cache": 5}
    assert np.array_equal(found.images.features, measure(objects, extractor, images[::-1]).images.features[::-1])


def test_repeated_images_are_computed_once(objects: ObjectStore) -> None:
    images = store(objects, pixels(3, 1))
    found = measure(objects, Projection(), [*images, *images[:2]])
    assert found.counters == {"computed": 3, "from_cache": 2}
    assert np.array_equal(found.images.features[:2], found.images.features[3:])


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "swap"])
def test_a_damaged_entry_is_computed_again_and_replaced(objects: ObjectStore, damage: str) -> None:
    extractor = Projection()
    images = store(objects, pixels(4, 1))
    right = measure(objects, extractor, images).images.features
    key = entry_key(extractor, SIZE, images[1]["sha256"])
    whole = objects.get(key)
    flipped = whole[:60] + bytes([whole[60] ^ 1]) + whole[61:]
    objects.put(key, {"cut": whole[:-3], "flip": flipped, "empty": b"", "swap": whole[::-1]}[damage])
    found = measure(objects, extractor, images)
    assert found.counters == {"computed": 1, "from_cache": 3}
    assert np.array_equal(found.images.features, right)
    assert objects.get(key) == whole


def test_other_weights_versions_and_readings_have_features_of_their_own(objects: ObjectStore) -> None:
    images = store(objects, pixels(3, 1))
    measure(objects, Projection(), images)
    for other in (Projection(sha256="b" * 64), Projection(version=2), Projection(name="other")):
        assert measure(objects, other, images).n_computed == 3
    large = Projection(matrix=np.ones((1024, 12), np.float32))
    assert measure(objects, large, images, Reading((32, 32))).n_computed == 3
    assert measure(objects, large, images, Reading((32, 32), nearest=True)).n_computed == 3


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_the_value_does_not_depend_on_the_batch_size(objects: ObjectStore, batch_size: int) -> None:
    generated, reference = store(objects, pixels(20, 1)), store(objects, pixels(23, 2))

    def distance(extractor: Projection) -> float:
        sides = [measure(objects, extractor, images).images.features for images in (generated, reference)]
        return frechet_distance(*(side.astype(np.float64) for side in sides))

    expected = distance(Projection(sha256="c" * 64, batch_size=5))
    assert distance(Projection(batch_size=batch_size)) == expected


class Stop(NoProgress):
    """Cancels when this many images are finished."""

    def __init__(self, at: int) -> None:
        self.at, self.done = at, 0

    def update(self, done: int, total: int) -> None:
        self.done = done

    def raise_if_cancelled(self) -> None:
        if self.done >= self.at:
            raise Cancelled


def test_what_was_computed_before_the_end_is_kept(objects: ObjectStore) -> None:
    extractor = Projection()
    images = store(objects, pixels(20, 1))
    with pytest.raises(Cancelled):
        measure(objects, extractor, images, progress=Stop(8))
    assert extractor.n_seen == 8
    progress = Stop(99)
    assert measure(objects, extractor, images, progress=progress).counters == {"computed": 12, "from_cache": 8}
    assert progress.done == 20


def test_what_is_not_a_number_is_not_kept(objects: ObjectStore) -> None:
    matrix = np.full((256, 12), np.nan, np.float32)
    images = store(objects, pixels(3, 1))
    assert measure(objects, Projection(matrix=matrix), images).n_computed == 3
    assert measure(objects, Projection(), images).n_computed == 3


def test_constant_images_are_counted_from_either_side(objects: ObjectStore) -> None:
    images = store(objects, np.stack([np.full((16, 16), 9, np.uint8), *pixels(2, 1)]))
    assert [measure(objects, Projection(), images).n_constant for _ in range(2)] == [1, 1]


def test_refusals_are_named(objects: ObjectStore) -> None:
    colour = np.zeros((16, 16, 3), np.uint8)
    colour[..., 0] = 200
    images = [*store(objects, pixels(2, 1)), {"name": "glioma/red.png", "sha256": objects.put_blob(encode(colour))}]
    with pytest.raises(ColourImages, match="glioma/red"):
        measure(objects, Projection(), images)
    with pytest.raises(TooFewImages):
        measure(objects, Projection(), [])


def test_an_entry_survives_packing_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    entry = Entry(rng.normal(size=2048).astype(np.float32), rng.random(1008), constant=True)
    found = unpack_entry(pack_entry(entry))
    assert found is not None
    assert np.array_equal(found.features, entry.features)
    assert np.array_equal(found.probabilities, entry.probabilities)
    assert found.constant
    assert unpack_entry(pack_entry(entry)[:32]) is None
