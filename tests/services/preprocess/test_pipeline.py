import csv
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from services.preprocess.pipeline import encode_image, prepare_image, prepare_pixels
from services.preprocess.reading import read_gray
from services.preprocess.recipe import NAMED_RECIPES, Recipe

STUDY, RIGOROUS = NAMED_RECIPES["study"], NAMED_RECIPES["rigorous"]


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("recipe", [STUDY, RIGOROUS, Recipe(clahe=None, size_rule="none", size_px=32)])
def test_one_image_gets_the_pixels_it_has_in_a_set(pixels_u8, recipe):
    stored = encode_image(prepare_pixels(pixels_u8, recipe).pixels_u8, recipe)
    np.testing.assert_array_equal(prepare_image(png(pixels_u8), recipe.model_dump()), read_gray(stored).pixels_u8)


@pytest.mark.parametrize("recipe", [STUDY, RIGOROUS])
def test_the_same_image_gives_the_same_bytes(pixels_u8, recipe):
    first, second = (encode_image(prepare_pixels(pixels_u8, recipe).pixels_u8, recipe) for _ in range(2))
    assert first == second


def test_png_loses_nothing(pixels_u8):
    np.testing.assert_array_equal(read_gray(encode_image(pixels_u8, RIGOROUS)).pixels_u8, pixels_u8)


@pytest.mark.parametrize(
    ("shape", "recipe", "square"),
    [
        ((64, 64), STUDY, "native"),
        ((60, 64), STUDY, "squeezed"),
        ((40, 64), STUDY, "padded"),
        ((60, 64), RIGOROUS, "padded"),
        ((40, 64), Recipe(size_rule="none"), "squeezed"),
    ],
)
def test_every_shape_is_made_square_and_how_is_recorded(shape, recipe, square):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    prepared = prepare_pixels(pixels, recipe)
    assert prepared.pixels_u8.shape == (256, 256)
    assert prepared.parameters["square"] == square
    assert ("pad_level" in prepared.parameters) == (square == "padded")
    assert (prepared.parameters["native_height"], prepared.parameters["native_width"]) == shape


def test_orientation_is_kept(pixels_u8):
    """A bright square at the upper right stays there: no transpose, no mirror."""
    prepared = prepare_pixels(pixels_u8, Recipe(clahe=None, size_rule="none", size_px=48)).pixels_u8
    row, column = np.unravel_index(prepared.argmax(), prepared.shape)
    assert row < 24 < column


@pytest.mark.data
def test_unrotated_golden_images_are_reproduced_bit_exactly(data_dir: Path):
    """The study's own files, from 512 x 512 sources that it did not rotate (study 2.1: bit-exact after JPEG decode)."""
    with (data_dir.parent / "reference" / "study_selection.csv").open() as file:
        rotation = {row["image_id"]: int(row["rotation_deg"]) for row in csv.DictReader(file)}
    golden = [
        path for path in sorted((data_dir / "study-preprocessed-sample").glob("*/*/*.jpg")) if rotation[path.stem] == 0
    ]
    assert len(golden) == 23
    for path in golden:
        source = data_dir / "brain-tumor-mri" / path.relative_to(data_dir / "study-preprocessed-sample")
        expected = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        np.testing.assert_array_equal(prepare_image(source.read_bytes(), "study"), expected, err_msg=path.name)
