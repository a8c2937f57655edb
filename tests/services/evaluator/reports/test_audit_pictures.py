"""The sheet of nearest pairs: what lies beside what, turned to match, and which are marked."""

import io

import cv2
import numpy as np
from PIL import Image

from services.evaluator.audit.memorisation import find_copies
from services.evaluator.audit.registration import turn
from services.evaluator.reports.audit_pictures import _choose_pairs, align_nearest, describe_match, draw_nearest
from tests.services.evaluator.image_sets import phantoms_u8
from tests.services.evaluator.reports.made_audit import audit_images, pair


def test_the_real_image_is_laid_on_the_synthetic_one_however_that_was_turned() -> None:
    reference_u8 = phantoms_u8("glioma", 8, 5, 128)
    original = reference_u8[3]
    planted = [original, original[:, ::-1], turn(original, 4.0), turn(np.ascontiguousarray(original[:, ::-1]), 4.0)]
    synthetic = audit_images(np.stack(planted), ["as-is", "mirrored", "turned", "both"])
    reference = audit_images(reference_u8, [f"r{row}" for row in range(8)])
    found = find_copies(synthetic, reference, None)
    assert {copy["name"] for copy in found["copies"]} == set(synthetic.names)
    inside = np.zeros((128, 128), dtype=bool)
    inside[16:-16, 16:-16] = True
    for image_u8, entry in zip(synthetic.images_u8, found["nearest"], strict=True):
        aligned = align_nearest(reference_u8[int(entry["nearest"][1:])], entry)
        blurred = [cv2.GaussianBlur(side, (0, 0), 1)[inside].astype(float) for side in (image_u8, aligned)]
        assert np.corrcoef(*blurred)[0, 1] > 0.97, entry
    data = draw_nearest(found, synthetic, reference, "glioma")
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.mode == "RGB"  # copies are marked in a colour
        assert picture.width == 1440


def test_copies_come_first_then_the_highest_correlations() -> None:
    nearest = [pair(f"s{row}", "r", row / 100) for row in range(40)]
    found = {"nearest": nearest, "copies": [nearest[5], nearest[7]]}
    names = [entry["name"] for entry in _choose_pairs(found, {"s5", "s7"})]
    assert names == ["s7", "s5", *(f"s{row}" for row in range(39, 31, -1))]
    every = {entry["name"] for entry in nearest}
    assert len(_choose_pairs({**found, "copies": nearest}, every)) == 30


def test_a_name_with_a_dollar_and_no_copies_can_be_drawn() -> None:
    images = audit_images(phantoms_u8("glioma", 2, 6, 64), ["a$b$.png", "c_{x}.png"])
    found = {"nearest": [pair("a$b$.png", "c_{x}.png", 0.5)], "copies": []}
    with Image.open(io.BytesIO(draw_nearest(found, images, images, "glioma"))) as picture:
        assert picture.mode == "L"  # all gray, so stored gray


def test_matches_are_put_into_words() -> None:
    assert describe_match(pair("a", "b", 1.0)) == "as it is"
    assert describe_match(pair("a", "b", 1.0, mirrored=True, angle_deg=-3.04)) == "mirrored, turned -3.0°"
    assert describe_match(pair("a", "b", 1.0, angle_deg=0.2)) == "as it is"
