import numpy as np
import pytest

from services.preprocess.features import describe, pack, unpack


def test_features_survive_their_packing(pixels_u8, tmp_path):
    described = [describe(np.roll(pixels_u8, shift)) for shift in range(5)]
    table = unpack([pack(described[:3]), pack([]), pack(described[3:])], 5, tmp_path)
    for row, features in enumerate(described):
        np.testing.assert_array_equal(table.thumbnails_u8[row], features.thumbnail_u8)
        np.testing.assert_array_equal(table.histograms[row], features.histogram)
        np.testing.assert_array_equal(table.planes[row], features.plane)


def test_a_set_without_a_readable_image_has_an_empty_table(tmp_path):
    table = unpack([pack([])], 0, tmp_path)
    assert len(table.thumbnails_u8) == len(table.histograms) == len(table.planes) == 0


def test_a_missing_shard_is_noticed(pixels_u8, tmp_path):
    with pytest.raises(ValueError, match="features of 1 images, not of 2"):
        unpack([pack([describe(pixels_u8)])], 2, tmp_path)
