"""The figures of the analysis report: their numbers, file names and captions."""

import re

CAPTIONS = {
    "counts": "Images by tumour class and split, and by imaging plane: as uploaded (pale) and kept (full).",
    "sizes": "Native sizes. Above: width and height by class on logarithmic axes; the area of a circle grows with the "
    "number of images, and the dashed line marks squares. Below: the most common sizes as shares of each class.",
    "examples": "An image of each class and plane, as uploaded, with its name and native size in pixels.",
    "levels": "Gray levels of up to 100 random Training images of each class, as uploaded. Every image counts the "
    "same: the line is the mean share of its pixels at each level, the band the 10th to the 90th percentile.",
    "bias-field": "Bias field by N4 (Tustison et al. 2010). An image of each class before and after the correction, "
    "and the field as the smoothed ratio of the two inside the head, 1 at its median.",
    "steps": "The steps of the preparation on one image of each class. A step marked with an asterisk is shown for "
    "comparison and is not part of the recipe.",
    "prepared-levels": "Gray levels of up to 100 prepared Training images of each class, drawn as in figure 4. The "
    "gray line is the mean of the images as uploaded.",
    "sharpness": "Sharpness: variance of the Laplacian at native size, of all images. Left of the dashed line (50) an "
    "image counts as blurry; values below 1 stand at 1.",
    "leaks": "Testing images that show a scan of Training: the Testing image, the Training image turned and resized to "
    "match it, and eight times their absolute difference. r is the correlation of their 64 x 64 thumbnails.",
    "conflicts": "Copies that bear different classes: the first image, the second turned and resized to match it, and "
    "eight times their absolute difference. r is the correlation of their 64 x 64 thumbnails.",
    "planes": "Imaging planes. The clusters that were found and the plane each was given; the share of each plane by "
    "class; and how sure the planes are that no person gave. Left of the dashed line (0.6) they want a look.",
}
"""By key, in the order of their numbers; the first is figure 1."""

KINDS = ("charts", "grids")
"""Figures of lines and bars, and figures made of images."""

FIRST = "chart.png"
"""The name under which the first figure is stored, beside its own, for whoever wants one picture of a report."""


CHARTS = "figures.pdf"
"""The charts (not the grids of images) as vectors, one on each page."""


def file_name(key: str, ending: str = "png") -> str:
    """`figure-2-sizes.png` for the key `sizes`; numbers stay the same where a figure has no data and is missing."""
    return f"figure-{list(CAPTIONS).index(key) + 1}-{key}.{ending}"


def caption(name: str) -> str:
    """The caption of a figure's file, with its number; an unknown name is its own caption."""
    match = re.fullmatch(r"figure-(\d+)-([a-z-]+)\.\w+", name)
    if match is None or match[2] not in CAPTIONS:
        return name
    return f"Figure {match[1]}. {CAPTIONS[match[2]]}"
