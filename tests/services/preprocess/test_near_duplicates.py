import cv2
import numpy as np
import pytest

from services.preprocess.near_duplicates import find_near_pairs, group_pairs, make_thumbnail


def scan(seed, shape=(300, 260)):
    """(H, W) uint8: smooth blobs, no symmetry, as different from other seeds as one slice from another."""
    noise = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 18)
    return np.clip(128 + blurred / blurred.std() * 40, 0, 255).astype(np.uint8)


def pairs_of(*images, **options):
    return find_near_pairs(np.stack([make_thumbnail(image) for image in images]), 0.985, **options)


def jpeg(pixels, quality):
    return cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: cv2.resize(x, (140, 170), interpolation=cv2.INTER_AREA),
        lambda x: (x * 0.5 + 40).astype(np.uint8),
        lambda x: jpeg(x, 30),
        lambda x: cv2.GaussianBlur(x, (0, 0), 1.5),
    ],
    ids=["smaller", "darker", "recompressed", "blurred"],
)
def test_the_same_scan_is_found_whatever_was_done_to_the_file(change):
    (pair,) = pairs_of(scan(0), scan(1), change(scan(0)))
    assert (pair.first, pair.second, pair.mirror) == (0, 2, "none")


@pytest.mark.parametrize(
    ("turn", "name"),
    [
        (lambda x: x[:, ::-1], "left-right"),
        (lambda x: x[::-1], "top-bottom"),
        (lambda x: x[::-1, ::-1], "half-turn"),
    ],
)
def test_a_mirror_image_is_found_and_named_unless_mirrors_do_not_count(turn, name):
    images = (scan(0), np.ascontiguousarray(turn(scan(0))))
    (pair,) = pairs_of(*images)
    assert pair.mirror == name
    assert pair.correlation == pytest.approx(1.0, abs=0.002)
    assert pairs_of(*images, mirrored=False) == []


def test_different_scans_and_blank_images_are_no_pairs():
    blank = np.zeros((300, 260), np.uint8)
    assert pairs_of(*[scan(seed) for seed in range(12)], blank, blank, blank + 9) == []


def test_pairs_do_not_depend_on_blocks(monkeypatch):
    images = [scan(seed % 7) for seed in range(23)]
    whole = pairs_of(*images)
    monkeypatch.setattr("services.preprocess.near_duplicates._BLOCK", 5)
    assert pairs_of(*images) == whole
    assert {(pair.first, pair.second) for pair in whole} == {
        (a, b) for a in range(23) for b in range(a + 1, 23) if a % 7 == b % 7
    }


def test_very_many_copies_stay_one_group_with_few_pairs(monkeypatch):
    monkeypatch.setattr("services.preprocess.near_duplicates._MOST_PAIRS", 4)
    pairs = pairs_of(*[scan(0)] * 60, scan(1))
    assert len(pairs) <= 60 * 4 + 60
    assert len(set(group_pairs(61, [(pair.first, pair.second) for pair in pairs]))) == 2


def test_only_the_named_positions_are_looked_at():
    thumbnails = np.stack([make_thumbnail(scan(seed)) for seed in (0, 0, 1, 0)])
    assert [(pair.first, pair.second) for pair in find_near_pairs(thumbnails, 0.985, among=[1, 2, 3])] == [(1, 3)]
    assert find_near_pairs(thumbnails[:1], 0.985) == find_near_pairs(thumbnails[:0], 0.985) == []


def test_slices_of_one_volume_are_never_a_pair_and_copies_of_them_are():
    """A volume of five slices that differ little, and a darker copy of it: each slice pairs with its copies alone."""
    slices = [cv2.GaussianBlur(scan(0), (0, 0), 1 + 0.3 * k) for k in range(5)]
    copy = [(image * 0.5 + 40).astype(np.uint8) for image in slices]
    assert len(pairs_of(*slices)) == 10
    pairs = pairs_of(*slices, *copy, scan(1), volumes=["a"] * 5 + ["b"] * 5 + [None])
    assert len(pairs) == 25
    assert all(pair.first < 5 <= pair.second for pair in pairs)


def test_a_pair_that_is_closer_when_mirrored_is_known_to_be_one_as_it_is():
    half = scan(0)
    even = ((half.astype(float) + half[:, ::-1]) / 2).astype(np.uint8)  # Its own mirror image, but for a little:
    tilted = np.clip(even + 0.06 * (half.astype(float) - even), 0, 255).astype(np.uint8)
    mirrored = np.ascontiguousarray(tilted[:, ::-1])
    (pair,) = pairs_of(tilted, mirrored)
    assert (pair.mirror, pair.correlation) == ("left-right", 1.0)
    assert pair.unturned is not None
    assert 0.985 <= pair.unturned < 1
    (alone,) = pairs_of(tilted, mirrored, mirrored=False)
    assert alone.correlation == pair.unturned
    (other,) = pairs_of(scan(0), np.ascontiguousarray(scan(0)[:, ::-1]))
    assert other.unturned is None


def test_a_check_can_end_the_search():
    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        pairs_of(scan(0), scan(0), check=stop)


def test_groups_are_the_chains_of_pairs():
    assert group_pairs(6, [(0, 2), (4, 2), (1, 5)]).tolist() == [0, 1, 0, 3, 0, 1]
