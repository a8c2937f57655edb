import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from services.preprocess.analysis import (
    analyse,
    count_by_class,
    count_planes,
    laplacian_variance,
    measure,
    summarise_sizes,
)
from services.preprocess.near_duplicates import find_near_pairs, make_thumbnail
from services.preprocess.reading import read_gray
from services.preprocess.report import build_report
from tests.services.preprocess.measurements import measurement
from tests.services.preprocess.test_report import find


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


def test_sizes_count_equal_images_once_without_copies():
    images = [
        measurement("a", size=(64, 64), pixel_hash="1"),
        measurement("b", size=(64, 64), pixel_hash="1"),
        measurement("c", size=(64, 60)),
        measurement("d", tumour_class="notumor", size=(64, 50)),
    ]
    sizes = summarise_sizes(images)["Training"]
    assert sizes["square_by_class"] == {
        "all": {"glioma": 2, "notumor": 0},
        "without_copies": {"glioma": 1, "notumor": 0},
    }
    assert sizes["within_10_percent_by_class"]["all"] == {"glioma": 3, "notumor": 0}
    assert sizes["commonest_share_by_class"] == {"glioma": 0.6667, "notumor": 0.0}


def test_planes_are_counted_where_they_are_known():
    images = [measurement("a", plane="axial"), measurement("b"), measurement("c", split=None, tumour_class=None)]
    assert count_planes(images) == {
        "unknown": {"unknown": {"unknown": 1}},
        "Training": {"glioma": {"axial": 1, "unknown": 1}},
    }


def test_images_of_one_level_are_named():
    flat, other = measurement("flat", contrast=0.3), measurement("other", contrast=1.0)
    assert analyse([flat, other])["constant_images"] == ["flat"]


def read_all(root: Path):
    """Measurements and thumbnails, (N, 64, 64) uint8, of the whole data set."""

    def look(path):
        image = read_gray(path.read_bytes())
        measured = measure(image, str(path.relative_to(root)), path.parts[-3], path.parts[-2])
        return measured, make_thumbnail(image.pixels_u8)

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(look, sorted(root.glob("*/*/*.jpg"))))
    return [image for image, _ in found], np.stack([thumbnail for _, thumbnail in found])


@pytest.mark.data
@pytest.mark.slow
def test_the_whole_data_set_has_the_studys_figures(data_dir: Path):
    """All 7,023 images: sections 1.1 and 2.1 of the study, each figure recomputed, and the leaks that it overlooked."""
    started_s = time.perf_counter()
    images, thumbnails_u8 = read_all(data_dir / "brain-tumor-mri")
    pairs = find_near_pairs(thumbnails_u8, 0.985)
    assert time.perf_counter() - started_s < 120
    report = build_report(find(images, pairs, recipe="study"))
    check_properties(report)
    check_copies(report)
    assert report["n_kept"] == 3207 + 1024
    assert report["kept"] == {
        "Training": {"glioma": 867, "meningioma": 802, "notumor": 817, "pituitary": 721},
        "Testing": {"glioma": 299, "meningioma": 207, "notumor": 218, "pituitary": 300},
    }
    kept = report["duplicates"]["leaks"]["kept"]
    assert (kept["total"], kept["exact"]) == (515, 62)
    assert kept["by_class"] == {"glioma": 59, "meningioma": 134, "notumor": 218, "pituitary": 104}
    rigorous = build_report(find(images, pairs))
    assert rigorous["duplicates"]["leaks"]["kept"]["total"] == 0
    assert {split: sum(row.values()) for split, row in rigorous["kept"].items()} == {"Training": 3340, "Testing": 272}
    # Four groups bear two classes and are set aside whole.
    assert rigorous["drop_reasons"]["label_conflict"] >= 8


def check_properties(report):
    """Section 1.1."""
    assert report["n_images"] == 7023
    assert report["counts"] == {
        "Training": {"glioma": 1321, "meningioma": 1339, "notumor": 1595, "pituitary": 1457},
        "Testing": {"glioma": 300, "meningioma": 306, "notumor": 405, "pituitary": 300},
    }
    training, testing = report["sizes"]["Training"], report["sizes"]["Testing"]
    assert training["distinct"] == 382
    assert training["most_common"][:5] == [
        {"width": width, "height": height, "n": n}
        for width, height, n in ((512, 512, 3955), (225, 225, 268), (630, 630, 77), (236, 236, 53), (201, 251, 43))
    ]
    assert list(training["square_by_class"]["all"].values()) == [1321, 1218, 505, 1450]
    assert list(training["within_10_percent_by_class"]["all"].values()) == [1321, 1266, 930, 1455]
    assert list(testing["square_by_class"]["all"].values()) == [300, 207, 114, 300]
    assert list(testing["within_10_percent_by_class"]["all"].values()) == [300, 246, 235, 300]
    # After de-duplication: section 1.3.
    assert list(training["square_by_class"]["without_copies"].values()) == [1321, 1216, 444, 1438]
    assert training["within_10_percent_by_class"]["without_copies"]["notumor"] == 817
    assert testing["square_by_class"]["without_copies"]["notumor"] == 103
    assert testing["within_10_percent_by_class"]["without_copies"]["notumor"] == 218
    shares = {"glioma": 1321 / 1321, "meningioma": 1199 / 1339, "notumor": 17 / 1595, "pituitary": 1418 / 1457}
    assert training["commonest_share_by_class"] == pytest.approx(shares, abs=1e-4)
    assert report["colour"] == {
        "chained": {"Training": {"notumor": 92}, "Testing": {"notumor": 28}},
        "strict": {"Training": {"notumor": 98}, "Testing": {"notumor": 31}},
    }
    assert report["blur"]["blurry"]["Training"] == {"glioma": 659, "meningioma": 534, "notumor": 62, "pituitary": 134}
    assert sum(report["blur"]["not_blurry"]["Training"].values()) == 4323
    levels = report["levels"]["Training"]
    assert [levels[name]["mean_gray"] for name in levels] == pytest.approx([32.7, 43.5, 60.7, 49.3], abs=0.06)
    assert [levels[name]["median_sharpness"] for name in levels] == pytest.approx([50.1, 53.4, 1145, 74], rel=2e-3)
    assert report["modes"] == {"JPEG RGB": 3925, "JPEG L": 3093, "PNG RGBA": 3, "PNG RGB": 1, "PNG P": 1}
    assert report["constant_images"] == []


def check_copies(report):
    """Section 2.1, step 1, and what is not in the study."""
    duplicates = report["duplicates"]
    assert duplicates["by_split"] == {
        "Training": {"groups": 155, "surplus": 207},
        "Testing": {"groups": 21, "surplus": 30},
    }
    found = {key: duplicates["leaks"]["all"][key] for key in ("exact", "near", "mirrored", "total")}
    assert found == {"exact": 216, "near": 776, "mirrored": 506, "total": 992}
    assert duplicates["label_conflicts"]["exact"] == []
    assert len(duplicates["label_conflicts"]["near"]) == 4
    for names in duplicates["label_conflicts"]["near"]:
        assert {name.split("/")[1] for name in names} == {"meningioma", "pituitary"}
