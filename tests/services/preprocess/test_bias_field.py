import numpy as np

from services.preprocess.bias_field import remove_bias_field


def head(side=128):
    """(side, side) float: a disc of level 120 with a darker core, and how bright a tilted field makes each pixel."""
    rows, columns = np.mgrid[0:side, 0:side] / side - 0.5
    radius = np.hypot(rows, columns)
    tissue = np.where(radius < 0.42, 120.0, 0.0)
    tissue[radius < 0.15] = 80.0
    return tissue, np.exp(0.9 * columns)


def test_a_known_field_is_mostly_removed():
    """Left and right halves of a symmetric head differ because of the field alone."""
    tissue, field = head()
    biased = np.clip(tissue * field, 0, 255).astype(np.uint8)

    def tilt(image):
        inside = np.where(tissue == 120.0, image.astype(float), np.nan)
        return np.nanmean(inside[:, 64:]) / np.nanmean(inside[:, :64]) - 1

    assert tilt(biased) > 0.25
    assert abs(tilt(remove_bias_field(biased))) < 0.3 * tilt(biased)


def test_the_brightest_level_stays_and_the_background_stays_black():
    tissue, field = head()
    biased = np.clip(tissue * field, 0, 255).astype(np.uint8)
    corrected = remove_bias_field(biased)
    assert corrected.dtype == np.uint8
    assert corrected.shape == biased.shape
    assert corrected.max() == biased.max()
    assert corrected[0, 0] == 0


def test_the_same_image_gives_the_same_result():
    tissue, field = head()
    biased = np.clip(tissue * field, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(remove_bias_field(biased), remove_bias_field(biased))


def test_an_image_without_a_head_is_left_alone():
    for blank in (np.zeros((40, 40), np.uint8), np.full((17, 90), 33, np.uint8)):
        np.testing.assert_array_equal(remove_bias_field(blank), blank)
