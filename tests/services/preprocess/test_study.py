import csv
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest

from services.preprocess.analysis import measure
from services.preprocess.duplicates import find_copies
from services.preprocess.pipeline import encode_image, prepare_pixels
from services.preprocess.plan import make_plan
from services.preprocess.reading import read_gray
from services.preprocess.recipe import Recipe
from services.preprocess.study import draw_as_study, was_kept_by_study

STUDY = Recipe.parse("study")


def test_other_images_than_the_studys_are_taken_in_the_order_of_their_names():
    training = {"glioma": ["Training/glioma/b.png", "Training/glioma/a.png"], "notumor": ["Training/notumor/c.png"]}
    order, angles = draw_as_study(training, ["Testing/glioma/z.png"], 3, STUDY)
    assert order == [*sorted(training["glioma"]), "Training/notumor/c.png", "Testing/glioma/z.png"]
    assert angles.keys() == set(order)
    assert (order, angles) == draw_as_study(training, ["Testing/glioma/z.png"], 3, STUDY)


def test_a_class_is_cut_to_between_700_and_900_images():
    training = {c: [f"Training/{c}/{k}.png" for k in range(1000)] for c in ("glioma", "notumor")}
    order, angles = draw_as_study(training, [], 2000, STUDY)
    n_glioma = sum("glioma" in name for name in order)
    assert 700 <= n_glioma <= 900
    assert len(order) - n_glioma == 1000
    assert set(angles.values()) <= set(range(-10, 10))


@pytest.mark.data
@pytest.mark.slow
def test_the_studys_selection_and_files_come_out_of_the_raw_set(data_dir: Path):
    """Steps 1 to 8 of study 2.1 on the 7,023 raw images: its 4,231 images, their order and angles, and its files."""
    root, golden = data_dir / "brain-tumor-mri", data_dir / "study-preprocessed-sample"

    def look(path):
        return measure(read_gray(path.read_bytes()), path.relative_to(root).as_posix(), *path.parts[-3:-1])

    with ThreadPoolExecutor(2) as pool:
        images = list(pool.map(look, sorted(root.glob("*/*/*.jpg"))))
    plan = make_plan(images, find_copies([image.hashed() for image in images]), STUDY)
    with (data_dir.parent / "reference" / "study_selection.csv").open() as file:
        expected = [(row["image_id"], int(row["rotation_deg"])) for row in csv.DictReader(file)]
    kept = [(PurePosixPath(planned.image.name).stem, planned.draw.rotation_deg) for planned in plan.kept]
    assert kept == expected
    counts = Counter((planned.image.split, planned.image.tumour_class) for planned in plan.kept)
    assert [counts["Training", c] for c in ("glioma", "meningioma", "pituitary", "notumor")] == [867, 802, 721, 817]
    assert [counts["Testing", c] for c in ("glioma", "meningioma", "pituitary", "notumor")] == [299, 207, 300, 218]
    assert sum(drop.reason == "duplicate" for drop in plan.drops) == 207 + 30

    planned = {PurePosixPath(item.image.name).stem: item for item in plan.kept}
    files = sorted(golden.glob("*/*/*.jpg"))
    assert len(files) == 45
    for path in files:
        item = planned[path.stem]
        source = read_gray((root / item.image.name).read_bytes()).pixels_u8
        prepared = prepare_pixels(source, STUDY, item.draw, item.image.tumour_class).pixels_u8
        stored = cv2.imdecode(np.frombuffer(encode_image(prepared, STUDY), np.uint8), cv2.IMREAD_GRAYSCALE)
        np.testing.assert_array_equal(stored, cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), err_msg=path.name)


def test_the_studys_images_are_known_by_their_file_names():
    assert was_kept_by_study("Training/glioma/Tr-gl_1308.jpg")
    assert not was_kept_by_study("Training/meningioma/Tr-me_0238.jpg")
