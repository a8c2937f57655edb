"""Images turned together are, to the bit, the images turned one by one."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from services.preprocess.geometry import rotate
from services.preprocess.preparation import share_out
from services.preprocess.rotation import LEAST_ALIKE, rotate_together


def make_images(n: int, height: int, width: int) -> list[np.ndarray]:
    """Noise, which has every level beside every other, then a flat field, a step, and spots on black."""
    rng = np.random.default_rng(height * width)
    images = list(rng.integers(0, 256, (n, height, width), dtype=np.uint8))
    images[0][:] = 137
    images[1][:, width // 2 :], images[1][:, : width // 2] = 255, 0
    images[2] = np.where(rng.random((height, width)) < 0.02, 255, 0).astype(np.uint8)
    return images


@pytest.mark.parametrize("angle_deg", [-10, -7, -1, 1, 9, 44, 179])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 94), (128, 70)])
def test_together_is_one_by_one(height: int, width: int, angle_deg: int) -> None:
    images = make_images(5, height, width)
    for turned, image in zip(rotate_together(images, angle_deg), images, strict=True):
        assert_array_equal(turned, rotate(image, angle_deg))


def plan_images(rng: np.random.Generator, n: int) -> list[dict[str, dict[str, int]]]:
    sides = rng.choice([512, 512, 512, 256, 700], n)
    angles = np.where(rng.random(n) < 0.5, rng.integers(-10, 10, n), 0)
    return [
        {"name": k, "draw": {"rotation_deg": int(a)}, "file": {"width": int(s), "height": int(s)}}
        for k, (a, s) in enumerate(zip(angles, sides, strict=True))
    ]


def test_shards_share_every_image_once_and_evenly_and_batches_hold_what_is_turned_alike() -> None:
    images = plan_images(np.random.default_rng(5), 2000)
    shards = share_out(images, 7)
    taken = [image["name"] for shard in shards for batch in shard for image in batch]
    assert sorted(taken) == list(range(2000))
    for batch in (batch for shard in shards for batch in shard):
        assert len({(image["draw"]["rotation_deg"], image["file"]["width"]) for image in batch}) == 1
    sizes = [sum(map(len, shard)) for shard in shards]
    assert max(sizes) < 3 * min(sizes)
    together = sum(len(batch) for shard in shards for batch in shard if len(batch) > 1)
    assert together > 0.25 * 2000


def test_few_images_are_turned_one_by_one() -> None:
    images = [{"draw": {"rotation_deg": 3}, "file": {"width": 64, "height": 64}}] * (LEAST_ALIKE - 1)
    assert {len(batch) for shard in share_out(images, 2) for batch in shard} == {1}
