import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from services.preprocess.figures.bias_fields import estimate_field
from services.preprocess.figures.captions import CAPTIONS, caption, file_name
from services.preprocess.figures.drawing import draw_figures
from services.preprocess.figures.examples import draw_steps
from services.preprocess.figures.matches import align, correlate
from services.preprocess.figures.style import fit_longest, in_order, pale, shorten, to_png
from services.preprocess.findings import Example, MatchPicture, Pictures
from services.preprocess.geometry import mirror
from services.preprocess.intensity import count_levels
from services.preprocess.near_duplicates import NearPair
from services.preprocess.recipe import Recipe
from services.preprocess.report import build_report
from tests.services.preprocess.measurements import measurement
from tests.services.preprocess.test_report import find

NOTHING = Pictures([], [], [], {}, {})
CLUSTERS = [{"cluster": 0, "size": 2, "plane": "axial"}, {"cluster": 1, "size": 1, "plane": None}]
PLANES = {"features": "x", "named_by": "labels", "n_noise": 1, "clusters": CLUSTERS}
IMAGES = [
    measurement("a", size=(512, 512), plane="axial", plane_confidence=0.3, plane_source="cluster"),
    measurement("b", tumour_class="notumor", size=(225, 230), plane="coronal", plane_confidence=0.9),
    measurement("c", tumour_class=None, split=None, sharpness=0.0, contrast=0.0),
    measurement("t", "Testing", size=(512, 500), plane="axial"),
]
PAIRS = [NearPair(0, 3, 0.99, "left-right")]


@pytest.fixture
def pictures(pixels_u8):
    def example(name, tumour_class, plane, **drawn):
        return Example(name, tumour_class, plane, pixels_u8, pixels_u8[:48, :48], drawn)

    turned = mirror(pixels_u8, horizontal=True, vertical=False)
    match = MatchPicture("Testing/t.png | Training/a.png", pixels_u8, turned, "left-right")
    levels = {"glioma": np.stack([count_levels(pixels_u8)] * 3), "notumor": count_levels(turned)[None]}
    examples = [example("a", "glioma", "axial", rotation_deg=-4), example("b", "notumor", "coronal")]
    return Pictures(examples, [match] * 3, [match], levels, levels)


def draw(findings, pictures):
    return draw_figures(findings, build_report(findings), pictures)


def opened(png):
    image = Image.open(io.BytesIO(png))
    image.load()
    assert image.format == "PNG"
    return image


def test_every_figure_is_drawn_and_the_same_each_time(pictures):
    findings = find(IMAGES, PAIRS, planes=PLANES)
    first, second = draw(findings, pictures), draw(findings, pictures)
    assert [name for name in first if name.endswith(".png")] == [*map(file_name, CAPTIONS), "chart.png"]
    assert first["chart.png"] == first["figure-1-counts.png"]
    assert {name for name in first if first[name] != second[name]} == set()
    for name, data in first.items():
        if name.endswith(".pdf"):
            assert data.startswith(b"%PDF")
            assert b"CreationDate" not in data
        else:
            pixels = np.asarray(opened(data).convert("L"))
            assert pixels.std() > 5
            # Nothing is cut off at an edge: the outermost pixels are paper.
            assert min(edge.min() for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])) == 255


def test_lines_print_at_300_dots_per_inch_and_images_at_200(pictures):
    files = draw(find(IMAGES, PAIRS, planes=PLANES), pictures)
    assert opened(files["figure-2-sizes.png"]).info["dpi"][0] == pytest.approx(300, abs=0.1)
    assert opened(files["figure-3-examples.png"]).info["dpi"][0] == pytest.approx(200, abs=0.1)
    assert opened(files["figure-3-examples.png"]).mode == "L"


def test_figures_without_data_are_left_out():
    bare = [replace(image, plane=None, plane_confidence=None) for image in IMAGES]
    files = draw(find(bare), NOTHING)
    assert {name for name in files if name.endswith(".png")} == {
        "figure-1-counts.png",
        "figure-2-sizes.png",
        "figure-8-sharpness.png",
        "chart.png",
    }
    assert "chart.png" in draw(find([]), NOTHING)


def test_steps_that_the_recipe_has_are_shown_with_its_settings(pictures):
    plain, other = (
        to_png(draw_steps(pictures, Recipe.parse({"clahe": {"clip_limit": limit}})), dpi=50) for limit in (2.0, 40.0)
    )
    assert plain != other


def test_a_field_is_found_again_and_nothing_is_said_of_air():
    rows, columns = np.mgrid[-1:1:128j, -1:1:128j]
    head = (rows**2 + columns**2 < 0.7).astype(float)
    field = 1 + 0.2 * columns
    found = estimate_field((120 * head * field).round().astype(np.uint8), (120 * head).astype(np.uint8))
    inside = rows**2 + columns**2 < 0.5
    np.testing.assert_allclose(found[inside], field[inside], atol=0.03)
    assert np.isnan(found[0, 0])
    assert np.isnan(estimate_field(np.zeros((32, 32), np.uint8), np.zeros((32, 32), np.uint8))).all()


@pytest.mark.parametrize(
    ("name", "horizontal", "vertical"),
    [("none", False, False), ("left-right", True, False), ("top-bottom", False, True), ("half-turn", True, True)],
)
def test_the_second_image_is_turned_to_match_the_first(pixels_u8, name, horizontal, vertical):
    match = MatchPicture("", pixels_u8, mirror(pixels_u8, horizontal=horizontal, vertical=vertical), name)
    np.testing.assert_array_equal(align(match), pixels_u8)
    assert correlate(match) == pytest.approx(1.0)
    assert correlate(replace(match, second_u8=np.zeros((20, 20), np.uint8))) == 0.0


def test_large_images_are_shown_reduced():
    assert fit_longest(np.zeros((4000, 1000), np.uint8)).shape == (512, 128)
    assert fit_longest(np.zeros((100, 200), np.uint8)).shape == (100, 200)


def test_names_and_colours():
    assert in_order(["pituitary", None, "other", "glioma"]) == ["glioma", "pituitary", "other", "unknown"]
    assert pale("#000000") == "#A6A6A6"
    assert shorten("a" * 30 + "_0042.png", 12) == "aaa…0042.png"
    assert caption("figure-2-sizes.png").startswith("Figure 2. Native sizes")
    assert caption("other.png") == "other.png"
