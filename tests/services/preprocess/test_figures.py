import io

import numpy as np
from PIL import Image

from services.preprocess.analysis import Measurement
from services.preprocess.figures import draw_counts, draw_examples, draw_sizes

FACTS = {"format": "PNG", "mode": "L", "depth_bits": 8, "colour_chained": False, "colour_strict": False}
IMAGES = [
    Measurement(
        name=str(index),
        split="Training",
        tumour_class=tumour_class,
        width=200 + index,
        height=210,
        sharpness=float(index),
        mean_gray=9.0,
        pixel_hash=str(index),
        **FACTS,
    )
    for index, tumour_class in enumerate(["glioma", "notumor", None])
]


def opened(png):
    image = Image.open(io.BytesIO(png))
    image.load()
    assert image.format == "PNG"
    return np.asarray(image.convert("L"))


def test_counts_chart_is_a_picture_and_the_same_each_time():
    before = {"Training": {"glioma": 3, "notumor": 4}, "Testing": {"glioma": 1}}
    first, second = (draw_counts(before, {"Training": {"glioma": 2}}) for _ in range(2))
    assert opened(first).std() > 5
    assert first == second


def test_sizes_chart_is_a_picture():
    assert opened(draw_sizes(IMAGES)).std() > 5


def test_examples_show_each_class_twice():
    pixels = np.tile(np.arange(64, dtype=np.uint8), (64, 1))
    one = opened(draw_examples({"glioma": (pixels, pixels)}))
    two = opened(draw_examples({"glioma": (pixels, pixels), "notumor": (pixels, pixels)}))
    assert two.shape[1] > 1.5 * one.shape[1]
