import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from services.preprocess.analysis import analyse, count_by_class, laplacian_variance, measure
from services.preprocess.reading import read_gray
from services.preprocess.recipe import NAMED_RECIPES
from services.preprocess.selection import select_drops


def test_constant_image_has_no_sharpness():
    assert laplacian_variance(np.full((32, 32), 77, np.uint8)) == 0.0


def test_sharpness_equals_the_studys_formula(pixels_u8):
    assert laplacian_variance(pixels_u8) == pytest.approx(cv2.Laplacian(pixels_u8, cv2.CV_64F).var(), rel=1e-12)


def test_sharpness_meets_its_closed_form_for_stripes():
    """Columns 0, 2a, 0, 2a ...: the Laplacian is +-4a everywhere, so its variance is 16 a^2."""
    stripes = np.zeros((16, 16), np.uint8)
    stripes[:, 1::2] = 20
    assert laplacian_variance(stripes) == pytest.approx(16 * 10**2)


def test_blurring_lowers_sharpness(pixels_u8):
    assert laplacian_variance(cv2.GaussianBlur(pixels_u8, (0, 0), 2)) < laplacian_variance(pixels_u8)


def test_counts_name_what_is_unlabelled():
    assert count_by_class([("Training", "glioma"), (None, "glioma"), ("Training", None)]) == {
        "unknown": {"glioma": 1},
        "Training": {"glioma": 1, "unknown": 1},
    }


def test_a_set_without_a_readable_image_is_analysed():
    assert analyse([])["counts"] == {}


@pytest.mark.data
@pytest.mark.slow
def test_the_whole_data_set_has_the_studys_figures(data_dir: Path):
    """All 7,023 images: sections 1.1 and 2.1 of the study, each figure recomputed."""
    root = data_dir / "brain-tumor-mri"

    def look(path):
        return measure(read_gray(path.read_bytes()), str(path.relative_to(root)), path.parts[-3], path.parts[-2])

    started_s = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        images = list(pool.map(look, sorted(root.glob("*/*/*.jpg"))))
    assert time.perf_counter() - started_s < 120
    report = analyse(images)
    assert report["counts"] == {
        "Training": {"glioma": 1321, "meningioma": 1339, "notumor": 1595, "pituitary": 1457},
        "Testing": {"glioma": 300, "meningioma": 306, "notumor": 405, "pituitary": 300},
    }
    assert report["sizes"]["Training"]["distinct"] == 382
    assert report["sizes"]["Training"]["most_common"][0] == {"width": 512, "height": 512, "n": 3955}
    assert report["colour"]["chained"]["Training"] == {"notumor": 92}
    assert report["blur"]["blurry"]["Training"] == {
        "glioma": 659,
        "meningioma": 534,
        "notumor": 62,
        "pituitary": 134,
    }
    assert report["duplicates"]["by_split"] == {
        "Training": {"groups": 155, "surplus": 207},
        "Testing": {"groups": 21, "surplus": 30},
    }
    assert report["modes"] == {"JPEG RGB": 3925, "JPEG L": 3093, "PNG RGBA": 3, "PNG RGB": 1, "PNG P": 1}
    dropped = {drop.name for drop in select_drops(images, NAMED_RECIPES["study"])}
    kept = count_by_class((image.split, image.tumour_class) for image in images if image.name not in dropped)
    assert kept == {
        "Training": {"glioma": 1321, "meningioma": 1216, "notumor": 817, "pituitary": 1438},
        "Testing": {"glioma": 299, "meningioma": 207, "notumor": 218, "pituitary": 300},
    }
