"""Measurements of images that do not exist, for tests of what is decided from measurements alone."""

from services.preprocess.analysis import Measurement


def measurement(
    name, split="Training", tumour_class="glioma", size=(64, 64), pixel_hash=None, plane=None, group=None, **others
):
    facts = {
        "name": name,
        "split": split,
        "tumour_class": tumour_class,
        "width": size[0],
        "height": size[1],
        "format": "PNG",
        "mode": "L",
        "depth_bits": 8,
        "colour_chained": False,
        "colour_strict": False,
        "sharpness": 100.0,
        "mean_gray": 40.0,
        "contrast": 30.0,
        "n_letters": 0,
        "pixel_hash": pixel_hash or name,
        "plane": plane,
        "group": group,
    }
    return Measurement(**{**facts, **others})
