import csv
import io
import json

from services.preprocess.duplicates import find_copies, find_leaks
from services.preprocess.findings import Findings
from services.preprocess.near_duplicates import NearPair
from services.preprocess.plan import make_plan
from services.preprocess.recipe import Recipe
from services.preprocess.report import build_report, write_page, write_table
from services.preprocess.selection import Drop
from tests.services.preprocess.measurements import measurement

UNREADABLE = [Drop("=evil.jpg", "truncated_image", "The file ends before the image does.")]
SKIPPED = [Drop("notes.txt", "unsupported_image", "Not an image.")]


def find(images, pairs=(), recipe="rigorous", unreadable=(), skipped=(), planes=None, upload_warnings=()):
    """Findings as the job makes them."""
    recipe = Recipe.parse(recipe)
    copies = find_copies([image.hashed() for image in images], pairs)
    plan = make_plan(images, copies if recipe.near_duplicates else find_copies(copies.images), recipe)
    kept = [planned.image.name for planned in plan.kept]
    return Findings(
        images=images,
        kept=kept,
        drops=plan.drops,
        unreadable=unreadable,
        skipped=skipped,
        upload_warnings=upload_warnings,
        pairs=pairs,
        copies=copies,
        leaks=find_leaks(copies),
        kept_leaks=find_leaks(copies, set(kept)),
        planes=planes,
        recipe=recipe,
    )


IMAGES = [
    measurement("Training/glioma/=cmd().png", size=(512, 512), pixel_hash="1", plane="axial", group="p1"),
    measurement("Training/glioma/a.png", size=(512, 512), pixel_hash="1", plane="axial", plane_confidence=0.4),
    measurement("Training/notumor/b.png", tumour_class="notumor", size=(225, 225), sharpness=10.0, plane="axial"),
    measurement("Training/glioma/c.png", size=(512, 512), plane="coronal", plane_source="cluster"),
    measurement("Testing/glioma/<script>.png", "Testing", size=(512, 512), pixel_hash="1"),
    measurement("Testing/notumor/d.png", "Testing", "notumor", (225, 225), colour_strict=True, group="p1"),
    measurement("Testing/notumor/e.png", "Testing", "notumor", (225, 230), contrast=0.0, mean_gray=0.0),
]
PAIRS = [NearPair(2, 5, 0.991, "left-right")]
CONFLICT = {"label_conflicts": "keep", "duplicates": "none", "groups": "keep"}


def warnings_of(**changes):
    return " ".join(build_report(find(**{"images": IMAGES, "pairs": PAIRS} | changes))["warnings"])


def test_every_image_is_accounted_for():
    report = build_report(find(IMAGES, PAIRS, unreadable=UNREADABLE, skipped=SKIPPED))
    assert report["n_images"] == report["n_kept"] + report["n_dropped"] == 8
    assert {drop["name"]: drop["reason"] for drop in report["dropped"]} == {
        "Training/glioma/a.png": "duplicate",
        "Testing/glioma/<script>.png": "in_training",
        "Testing/notumor/d.png": "in_training",
        "=evil.jpg": "truncated_image",
    }
    assert sum(report["drop_reasons"].values()) == report["n_dropped"]
    assert [drop["name"] for drop in report["skipped"]] == ["notes.txt"]
    assert report["kept"] == {"Training": {"glioma": 2, "notumor": 1}, "Testing": {"notumor": 1}}
    assert report["kept_planes"]["Training"]["glioma"] == {"axial": 1, "coronal": 1}
    json.dumps(report, allow_nan=False)


def test_a_set_without_images_has_a_report_too():
    findings = find([], unreadable=UNREADABLE)
    report = build_report(findings)
    assert report["n_images"] == report["n_dropped"] == 1
    json.dumps(report, allow_nan=False)
    assert b"truncated_image" in write_page(report, "empty", {})


def test_leaks_are_counted_by_kind_and_by_what_became_of_them():
    leaks = build_report(find(IMAGES, PAIRS))["duplicates"]["leaks"]
    expected = {"exact": 1, "near": 1, "mirrored": 1, "total": 2, "by_class": {"glioma": 1, "notumor": 1}}
    assert leaks["all"] == expected
    assert leaks["kept"]["total"] == 0
    assert not any(pair["kept"] for pair in leaks["pairs"])

    kept = build_report(find(IMAGES, PAIRS, recipe=CONFLICT))["duplicates"]["leaks"]
    assert kept["kept"] == expected
    assert [(pair["testing"], pair["training"], pair["mirror"], pair["kept"]) for pair in kept["pairs"]] == [
        ("Testing/glioma/<script>.png", "Training/glioma/=cmd().png", "none", True),
        ("Testing/notumor/d.png", "Training/notumor/b.png", "left-right", True),
    ]


def test_a_leak_that_a_chain_of_unmirrored_copies_shows_is_not_only_mirrored():
    images = [measurement("a"), measurement("b"), measurement("t", "Testing")]
    pairs = [NearPair(0, 1, 0.99, "none"), NearPair(0, 2, 0.99, "left-right"), NearPair(1, 2, 0.99, "none")]
    assert build_report(find(images, pairs))["duplicates"]["leaks"]["all"]["mirrored"] == 0


def test_copies_within_a_split_are_counted_apart_from_those_across():
    duplicates = build_report(find(IMAGES, [*PAIRS, NearPair(0, 3, 0.99, "none")]))["duplicates"]
    assert duplicates["by_split"] == {
        "Training": {"groups": 1, "surplus": 1},
        "Testing": {"groups": 0, "surplus": 0},
    }
    assert duplicates["near"]["by_split"]["Training"] == {"groups": 1, "surplus": 2}


def test_conflicts_of_equal_images_and_of_near_ones_are_listed_once():
    images = [
        measurement("a", pixel_hash="1"),
        measurement("b", tumour_class="pituitary", pixel_hash="1"),
        measurement("c"),
        measurement("d", tumour_class="pituitary"),
    ]
    findings = find(images, [NearPair(0, 1, 1.0, "none"), NearPair(2, 3, 0.99, "none")], recipe=CONFLICT)
    assert build_report(findings)["duplicates"]["label_conflicts"] == {"exact": [["a", "b"]], "near": [["c", "d"]]}


def test_patients_in_both_splits_are_named():
    assert build_report(find(IMAGES))["groups"] == {"n": 1, "crossing": ["p1"], "crossing_kept": []}
    assert build_report(find(IMAGES, recipe=CONFLICT))["groups"]["crossing_kept"] == ["p1"]


def test_a_patient_named_at_a_dropped_copy_crosses_the_splits_too():
    images = [
        measurement("a", pixel_hash="1"),
        measurement("b", pixel_hash="1", group="p1"),
        measurement("c", "Testing", group="p1"),
    ]
    for listed in (images, [images[1], images[0], images[2]]):
        kept = build_report(find(listed, recipe={"groups": "keep"}))["groups"]
        assert kept == {"n": 1, "crossing": ["p1"], "crossing_kept": ["p1"]}
        assert build_report(find(listed))["groups"]["crossing_kept"] == []


def test_what_may_mislead_is_said():
    said = warnings_of(unreadable=UNREADABLE, skipped=SKIPPED)
    for fact in (
        "2 of 3 Testing images show a scan of Training",
        "1 has the same pixels",
        "1 is near-duplicates of one, 1 of them only when mirrored",
        "none is among the images kept, since this recipe sets the Testing side aside",
        "1 group (patients) has images in Training and in Testing; none of them",
        "1 image holds colour",
        "1 image (14 %) has a Laplacian variance below 50",
        "1 image of one gray level shows no brain: Testing/notumor/e.png",
        "The plane of 1 image has a confidence below 0.6",
        "1 file could not be read",
        "1 file was refused",
        "512 x 512 is the size of glioma 100 %, notumor 0 %",
        "next to no coronal images of notumor, but has them of glioma",
    ):
        assert fact in said


def test_what_the_recipe_risks_is_said():
    said = warnings_of(
        recipe={**CONFLICT, "leakage_waiver": "a replay", "histogram_matching": {}},
        images=[*IMAGES, measurement("f", tumour_class="pituitary", pixel_hash="1")],
    )
    for fact in ("2 are among the images kept", "1 group of equal images", "a replay", "by class used the class"):
        assert fact in said


def test_text_in_the_margin_thin_tests_and_the_uploads_warnings_are_said():
    lettered = measurement("x", tumour_class="notumor", n_letters=5)
    said = warnings_of(images=[*IMAGES, lettered], upload_warnings=["3 images say that text is burned in."])
    assert "1 image has text burned into the margin (notumor 1)" in said
    assert "3 images say that text is burned in." in said
    assert "too few Testing images to measure some classes: 0 glioma" in said


def test_a_clean_set_has_no_warning():
    assert build_report(find([measurement("a"), measurement("t", "Testing")]))["warnings"] == []


def rows_of(findings):
    return list(csv.DictReader(io.StringIO(write_table(findings).decode())))


def test_table_has_a_row_for_every_image_and_runs_no_formula():
    rows = rows_of(find(IMAGES, PAIRS, unreadable=UNREADABLE, skipped=SKIPPED))
    assert [row["kept"] for row in rows] == ["yes", "no", "yes", "yes", "no", "no", "yes", "no", "no"]
    assert [row["reason"] for row in rows[-2:]] == ["truncated_image", "unsupported_image"]
    assert rows[-2]["name"] == "'=evil.jpg"
    assert not any(value.startswith(("=", "+", "@")) for row in rows for value in row.values())


def test_table_says_which_images_are_copies_and_what_leaks():
    rows = rows_of(find(IMAGES, PAIRS))
    assert [row["copy_group"] for row in rows] == ["1", "1", "2", "", "1", "2", ""]
    leak = rows[5]
    assert (leak["leaks_from"], leak["leak_correlation"], leak["leak_mirror"]) == (
        "Training/notumor/b.png",
        "0.991",
        "left-right",
    )
    assert (rows[3]["plane"], rows[3]["plane_source"], rows[0]["group"]) == ("coronal", "cluster", "p1")
    assert (rows[2]["blurry"], rows[5]["colour_strict"]) == ("True", "True")


def test_page_escapes_names_and_needs_nothing_from_elsewhere():
    report = build_report(find(IMAGES, PAIRS, recipe=CONFLICT, skipped=SKIPPED))
    page = write_page(report, "a <b> title", {"chart.png": b"\x89PNG"}).decode()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "a &lt;b&gt; title" in page
    assert "notes.txt" in page
    assert "http" not in page


def test_page_numbers_its_figures_and_shows_each_once():
    figures = {f"figure-{k}.png": b"\x89PNG" for k in ("1-counts", "9-leaks")} | {"chart.png": b"", "x.pdf": b""}
    page = write_page(build_report(find(IMAGES)), "title", figures).decode()
    assert page.count("<figure>") == 2
    assert "Figure 1. Images by tumour class" in page
    assert "Figure 9. Testing images" in page
