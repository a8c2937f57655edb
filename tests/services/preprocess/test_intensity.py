import cv2
import numpy as np

from services.preprocess.intensity import count_levels, cumulative_shares, equalise_adaptively, match_levels


def test_contrast_grows(pixels_u8):
    flat = (pixels_u8 // 8 + 100).astype(np.uint8)
    assert equalise_adaptively(flat).std() > flat.std()


def test_defaults_are_the_studys(pixels_u8):
    expected = cv2.createCLAHE(2.0, (8, 8)).apply(pixels_u8)
    np.testing.assert_array_equal(equalise_adaptively(pixels_u8), expected)


def test_result_does_not_depend_on_opencvs_threads(pixels_u8):
    before = cv2.getNumThreads()
    results = []
    for threads in (1, 4):
        cv2.setNumThreads(threads)
        results.append(equalise_adaptively(np.tile(pixels_u8, (8, 8))))
    cv2.setNumThreads(before)
    np.testing.assert_array_equal(*results)


def test_input_is_left_alone(pixels_u8):
    copy = pixels_u8.copy()
    equalise_adaptively(pixels_u8)
    np.testing.assert_array_equal(pixels_u8, copy)


def as_defined(pixels, reference):
    """The study's rule, level by level: the first reference level that is not smaller, or its predecessor if closer."""
    own = np.cumsum(np.bincount(pixels.ravel(), minlength=256)) / pixels.size
    table = np.empty(256, np.uint8)
    for level in range(256):
        fitting = [k for k in range(256) if reference[k] >= own[level]]
        if not fitting:
            table[level] = 255
        elif fitting[0] > 0 and own[level] - reference[fitting[0] - 1] <= reference[fitting[0]] - own[level]:
            table[level] = fitting[0] - 1
        else:
            table[level] = fitting[0]
    return table[pixels]


def test_matching_follows_the_studys_rule_level_by_level(pixels_u8):
    rng = np.random.default_rng(0)
    for _ in range(5):
        reference = cumulative_shares(rng.integers(0, 50, (3, 256)) * (rng.random((3, 256)) < 0.4))
        np.testing.assert_array_equal(match_levels(pixels_u8, reference), as_defined(pixels_u8, reference))


def test_an_image_matched_to_itself_keeps_its_levels(pixels_u8):
    own = cumulative_shares(count_levels(pixels_u8)[None])
    assert np.abs(match_levels(pixels_u8, own).astype(int) - pixels_u8).max() <= 1


def test_matching_is_monotone_and_approaches_the_reference(pixels_u8):
    target = np.clip(pixels_u8.astype(int) // 2 + 90, 0, 255).astype(np.uint8)
    matched = match_levels(pixels_u8, cumulative_shares(count_levels(target)[None]))
    assert abs(float(matched.mean()) - float(target.mean())) < 2
    order = np.argsort(pixels_u8.ravel(), kind="stable")
    assert (np.diff(matched.ravel()[order].astype(int)) >= 0).all()


def test_each_image_counts_the_same_in_the_reference():
    small, large = np.eye(256, dtype=int)[10] * 4, np.eye(256, dtype=int)[20] * 4000
    reference = cumulative_shares(np.stack([small, large]))
    assert (reference[9], reference[10], reference[20]) == (0.0, 0.5, 1.0)
