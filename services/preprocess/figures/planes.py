"""Figure 11: the clusters that planes come from, the planes of each class, and how sure they are."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from services.preprocess.analysis import LEAST_CONFIDENCE, UNKNOWN, Measurement, count_planes
from services.preprocess.figures.style import (
    FONT_PT,
    INK,
    NEUTRAL,
    dress,
    in_order,
    new_figure,
    plane_colour,
    thousands,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_N_CLUSTERS = 12


def draw_planes(images: Sequence[Measurement], found: Mapping[str, Any] | None) -> "Figure":
    """Clusters, shares of planes by class, and a histogram of the confidence; the outer two where there are data.

    Args:
        images: the images, with their planes.
        found: how the planes were found, as the findings have it.
    """
    clusters = list((found or {}).get("clusters") or [])
    sure = [image for image in images if image.plane_confidence is not None]
    parts = [part for part, there in (("clusters", clusters), ("shares", True), ("sure", sure)) if there]
    rows = max(len(in_order(i.tumour_class for i in images)), min(len(clusters), _N_CLUSTERS) + 1)
    figure = new_figure(1.25 + 0.22 * max(rows, 5), 7.2 if len(parts) > 1 else 3.8)
    panels = dict(zip(parts, figure.subplots(1, len(parts), squeeze=False)[0], strict=True))
    if clusters:
        _draw_clusters(panels["clusters"], clusters, int((found or {}).get("n_noise", 0)))
    _draw_shares(panels["shares"], images)
    if sure:
        _draw_confidence(panels["sure"], sure)
    _add_legend(figure, in_order(image.plane for image in images))
    return figure


def _draw_clusters(axes: "Axes", clusters: Sequence[Mapping[str, Any]], n_noise: int) -> None:
    shown = clusters[:_N_CLUSTERS]
    bars = [(str(cluster["cluster"]), cluster["size"], plane_colour(cluster["plane"])) for cluster in shown]
    if rest := clusters[_N_CLUSTERS:]:
        bars.append((f"{len(rest)} more", sum(cluster["size"] for cluster in rest), NEUTRAL))
    bars.append(("none", n_noise, "#D9D9D9"))
    for row, (_, size, colour) in enumerate(bars):
        axes.barh(row, size, height=0.7, color=colour)
        axes.annotate(
            f"{size:,}", (size, row), (3, 0), textcoords="offset points", va="center", fontsize=FONT_PT, color=INK
        )
    dress(axes, title="a  Clusters", xlabel="images", ylabel="cluster")
    axes.set_yticks(range(len(bars)), [name for name, _, _ in bars])
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xlim(0, 1.4 * max(size for _, size, _ in bars))
    thousands(axes.xaxis)
    axes.tick_params(axis="y", length=0)


def _draw_shares(axes: "Axes", images: Sequence[Measurement]) -> None:
    counts = count_planes(images)
    classes = in_order(image.tumour_class for image in images)
    for row, name in enumerate(classes):
        cells = [split.get(name, {}) for split in counts.values()]
        total, left = sum(sum(cell.values()) for cell in cells), 0.0
        for plane in in_order(plane for cell in cells for plane in cell):
            share = 100 * sum(cell.get(plane, 0) for cell in cells) / total
            axes.barh(row, share, left=left, height=0.7, color=plane_colour(plane))
            left += share
    dress(axes, title="b  Planes by class", xlabel="share of images, %")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_ylim(len(classes) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.tick_params(axis="y", length=0)


def _draw_confidence(axes: "Axes", images: Sequence[Measurement]) -> None:
    edges = np.linspace(0, 1, 21)
    counts, _ = np.histogram([image.plane_confidence or 0.0 for image in images], edges)
    unsure = edges[1:] <= LEAST_CONFIDENCE + 1e-9
    for part, colour in ((unsure, INK), (~unsure, NEUTRAL)):
        axes.stairs(np.where(part, counts, 0), edges, fill=True, color=colour)
    axes.axvline(LEAST_CONFIDENCE, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    dress(axes, title="c  Confidence", xlabel="confidence of the plane", ylabel="images")
    axes.set_yscale("symlog", linthresh=1)  # bins without an image stand at 0, which a logarithm does not have
    axes.set_yticks([0, *(10**k for k in range(len(str(max(1, counts.max())))))])
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1], ["0", "0.2", "0.4", "0.6", "0.8", "1"])
    axes.set_ylim(0, 3 * max(1, int(counts.max())))


def _add_legend(figure: "Figure", planes: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(color=plane_colour(plane), label="plane " + plane if plane == UNKNOWN else plane) for plane in planes
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=FONT_PT, frameon=False)
