"""The figures of the analysis report as PNG, and those of lines and bars in one PDF too; the study's and our own."""

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from services.preprocess.analysis import UNKNOWN
from services.preprocess.figures.bias_fields import draw_bias_fields
from services.preprocess.figures.captions import CAPTIONS, CHARTS, FIRST, KINDS, file_name
from services.preprocess.figures.counts import draw_counts
from services.preprocess.figures.examples import draw_examples, draw_steps
from services.preprocess.figures.levels import draw_levels
from services.preprocess.figures.matches import draw_matches
from services.preprocess.figures.planes import draw_planes
from services.preprocess.figures.sizes import draw_sharpness, draw_sizes
from services.preprocess.figures.style import IMAGE_DPI, LINE_DPI, to_pdf, to_png
from services.preprocess.findings import Findings, Pictures
from services.preprocess.steps import BiasField

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GRIDS = ("examples", "bias-field", "steps", "leaks", "conflicts")


def draw_figures(
    findings: Findings, report: Mapping[str, Any], pictures: Pictures, kinds: Collection[str] = KINDS
) -> dict[str, bytes]:
    """Every figure for which there are data, by file name, in the order of their numbers.

    Figure 1 is also there as `chart.png`, the charts together as `figures.pdf`. The same input gives the same bytes.

    Args:
        findings: the facts.
        report: as `build_report` gives it.
        pictures: the pixels.
        kinds: which of KINDS to draw.
    """
    drawings = _drawings(findings, report, pictures)
    files: dict[str, bytes] = {}
    charts: list[Figure] = []
    for key in CAPTIONS:
        kind = "grids" if key in _GRIDS else "charts"
        if key not in drawings or kind not in kinds:
            continue
        figure = drawings[key]()
        files[file_name(key)] = to_png(figure, IMAGE_DPI if kind == "grids" else LINE_DPI)
        if kind == "charts":
            charts.append(figure)
    if charts:
        files[FIRST] = files[file_name("counts")]
        files[CHARTS] = to_pdf(charts)
    return files


def _drawings(findings: Findings, report: Mapping[str, Any], pictures: Pictures) -> dict[str, Callable[[], "Figure"]]:
    """How to draw each figure that has data, by key."""
    images, recipe = findings.images, findings.recipe
    classes = {image.name: image.tumour_class or UNKNOWN for image in images}
    before, after = pictures.levels_before, pictures.levels_after
    drawings: dict[str, tuple[object, Callable[[], Figure]]] = {
        "counts": (True, lambda: draw_counts(report)),
        "sizes": (images, lambda: draw_sizes(images)),
        "examples": (pictures.examples, lambda: draw_examples(pictures.examples)),
        "levels": (any(map(len, before.values())), lambda: draw_levels(before)),
        "bias-field": (
            pictures.examples,
            lambda: draw_bias_fields(pictures.examples, recipe.bias_field or BiasField()),
        ),
        "steps": (pictures.examples, lambda: draw_steps(pictures, recipe)),
        "prepared-levels": (any(map(len, after.values())), lambda: draw_levels(after, before)),
        "sharpness": (images, lambda: draw_sharpness(images)),
        "leaks": (pictures.leaks, lambda: draw_matches(pictures.leaks, ("Testing", "Training"))),
        "conflicts": (pictures.conflicts, lambda: draw_matches(pictures.conflicts, ("first", "second"), classes)),
        "planes": (any(image.plane for image in images), lambda: draw_planes(images, findings.planes)),
    }
    return {key: draw for key, (data, draw) in drawings.items() if data}
