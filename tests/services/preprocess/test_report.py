import csv
import io
import json

from services.preprocess.analysis import Measurement
from services.preprocess.recipe import Recipe
from services.preprocess.report import build_report, write_page, write_table
from services.preprocess.selection import Drop, select_drops


def measurement(name, split, tumour_class, side, pixel_hash, coloured=False):
    facts = {"format": "PNG", "mode": "L", "depth_bits": 8, "colour_chained": coloured, "colour_strict": coloured}
    levels = {"sharpness": 10.0, "mean_gray": 40.0, "pixel_hash": pixel_hash}
    return Measurement(name=name, split=split, tumour_class=tumour_class, width=side, height=side, **facts, **levels)


IMAGES = [
    measurement("Training/glioma/=cmd().png", "Training", "glioma", 512, "1"),
    measurement("Training/notumor/b.png", "Training", "notumor", 225, "1"),
    measurement("Testing/glioma/<script>.png", "Testing", "glioma", 512, "1"),
    measurement("Testing/notumor/d.png", "Testing", "notumor", 225, "4", coloured=True),
]
UNREADABLE = [Drop("=evil.jpg", "truncated_image", "The file ends before the image does.")]
RECIPE = Recipe.parse("rigorous")
DROPS = select_drops(IMAGES, RECIPE)


def test_every_image_is_accounted_for():
    report = build_report(IMAGES, DROPS, UNREADABLE, RECIPE)
    assert report["n_images"] == report["n_kept"] + report["n_dropped"] == 5
    assert {drop["name"]: drop["reason"] for drop in report["dropped"]} == {
        "Training/notumor/b.png": "duplicate",
        "Testing/glioma/<script>.png": "in_training",
        "=evil.jpg": "truncated_image",
    }
    json.dumps(report, allow_nan=False)


def test_what_may_mislead_is_said():
    warnings = " ".join(build_report(IMAGES, DROPS, UNREADABLE, RECIPE)["warnings"])
    for fact in (
        "same pixels as a Training image",
        "different classes",
        "colour",
        "blurry",
        "not be read",
        "512 x 512",
    ):
        assert fact in warnings


def test_a_clean_set_has_no_warning():
    sharp = Measurement(**{**IMAGES[0].record(), "sharpness": 900.0})
    assert build_report([sharp], [], [], RECIPE)["warnings"] == []


def test_table_has_a_row_for_every_image_and_runs_no_formula():
    rows = list(csv.DictReader(io.StringIO(write_table(IMAGES, DROPS, UNREADABLE).decode())))
    assert len(rows) == 5
    assert [row["kept"] for row in rows] == ["yes", "no", "no", "yes", "no"]
    assert rows[-1]["name"] == "'=evil.jpg"


def test_page_escapes_names_and_needs_nothing_from_elsewhere():
    report = build_report(IMAGES, DROPS, UNREADABLE, RECIPE)
    page = write_page(report, "a <b> title", {"chart.png": b"\x89PNG"}).decode()
    assert "<script>" not in page
    assert "a &lt;b&gt; title" in page
    assert "http" not in page
