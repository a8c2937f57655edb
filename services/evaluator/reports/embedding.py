"""Images as points on a map: PCA, then t-SNE, of features or of thumbnails."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.evaluator.reports.style import (
    BASELINE_COLOUR,
    DPI,
    FONT_PT,
    INK,
    REFERENCE_COLOUR,
    SYNTHETIC_COLOUR,
    caption,
    clear,
    new_figure,
    to_png,
)

MAX_POINTS: Final = 3000
"""More points take minutes and hide each other."""
FEWEST_POINTS: Final = 8
SIDES_SHOWN: Final = ("synthetic", "reference", "baseline")
THUMBNAIL_PX: Final = 32
N_COMPONENTS: Final = 50
"""PCA before t-SNE, as van der Maaten and Hinton 2008 (JMLR 9:2579), section 4, did it; their 30 is now often 50."""
_PERPLEXITY: Final = 30.0
PER_GROUP: Final = 250
_ACROSS: Final = 2
_LOOKS: Final[dict[str, tuple[str, str, str]]] = {
    "reference": (REFERENCE_COLOUR, "o", "full"),
    "baseline": (BASELINE_COLOUR, "s", "none"),
    "synthetic": (SYNTHETIC_COLOUR, "^", "full"),
}
"""Colour, marker and filling of each side, in the order in which they are drawn."""


@dataclass(frozen=True)
class PointGroup:
    """Images that belong together.

    Attributes:
        side: synthetic, reference or baseline.
        label: for the legend, for example "real Training".
        panel: the panel in which they stand out, for example their class.
        features: (n, d) of any real dtype, one row per image.
    """

    side: str
    label: str
    panel: str
    features: NDArray[Any]


def draw_embedding(groups: Sequence[PointGroup], seed: int, what: str) -> bytes:
    """PNG with one panel per class: its images in colour, all others pale behind them, on one common map.

    Args:
        groups: images of one feature space; of more than MAX_POINTS a random part is shown.
        seed: of the choice and of t-SNE.
        what: the feature space in words, for the caption.
    """
    shown = _thin(groups, seed)
    points = embed(np.concatenate([group.features for group in shown]), seed)
    sizes = np.cumsum([0, *(len(group.features) for group in shown)])
    places = [points[start:stop] for start, stop in pairwise(sizes)]
    panels = list(dict.fromkeys(group.panel for group in shown))
    single, n_rows = len(panels) == 1, -(-len(panels) // _ACROSS)
    figure = new_figure(5.4 if single else 1.0 + 3.2 * n_rows, 4.6 if single else 7.2)
    grid = figure.subplots(n_rows, 1 if single else _ACROSS, squeeze=False).ravel()
    for axes in grid:
        clear(axes)
    for axes, panel in zip(grid, panels, strict=False):
        _draw_panel(axes, panel, shown, places)
    handles = _legend(grid[0], shown)
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False, fontsize=FONT_PT)
    n_all, n_shown = sum(len(group.features) for group in groups), len(points)
    part = f"{n_shown:,} images" if n_shown == n_all else f"{n_shown:,} of {n_all:,} images, drawn at random"
    caption(
        figure,
        f"t-SNE of {what} ({part}; the {min(N_COMPONENTS, n_shown - 1)} first principal components, seed {seed}). "
        "Only who lies beside whom means something: distances between islands, their sizes and their shapes do not.",
    )
    return to_png(figure, DPI)


def group_by_class(side: str, label: str, classes: Sequence[str | None], features: NDArray[Any]) -> list[PointGroup]:
    """The images of one side as one group per class, in the order in which the classes appear.

    Args:
        side: synthetic, reference or baseline.
        label: for the legend.
        classes: the class of each image; None becomes a panel of its own.
        features: (n, d) of any real dtype, one row per image.
    """
    names = [str(name or "without a class") for name in classes]
    rows = {name: [row for row, other in enumerate(names) if other == name] for name in dict.fromkeys(names)}
    return [PointGroup(side, label, name, features[some]) for name, some in rows.items()]


def embed(features: NDArray[Any], seed: int) -> NDArray[np.float64]:
    """(n, 2) float64 without unit: t-SNE of the principal components of (n, d) features, at least three rows.

    It begins with the first two components, so that the seed decides little.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    rows = np.asarray(features, dtype=np.float32).reshape(len(features), -1)
    if not np.ptp(rows, axis=0).any():
        return np.zeros((len(rows), 2))  # all images are one
    n_components = min(N_COMPONENTS, len(rows) - 1, rows.shape[1])
    components = PCA(n_components, random_state=seed).fit_transform(rows)
    perplexity = min(_PERPLEXITY, (len(rows) - 1) / 3)
    init = "pca" if n_components > 1 else "random"
    model = TSNE(2, perplexity=perplexity, init=init, random_state=seed, learning_rate="auto")
    points: NDArray[np.float64] = np.asarray(model.fit_transform(components), dtype=np.float64)
    return points


def pack_thumbnails(images_u8: Mapping[str, NDArray[np.uint8]], seed: int) -> bytes:
    """Up to 250 images of each side, drawn at random, as thumbnails; an .npz for `unpack_thumbnails`.

    Args:
        images_u8: by side, (n, h, w) uint8 in 0..255.
        seed: of the draw.
    """
    import cv2

    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    packed = {}
    for number, (side, images) in enumerate(images_u8.items()):
        rng = np.random.default_rng([seed, number])
        rows = np.sort(rng.permutation(len(images))[:PER_GROUP])
        packed[side] = np.stack([cv2.resize(images[row], size, interpolation=cv2.INTER_AREA) for row in rows])
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **packed)
    return out.getvalue()


def unpack_thumbnails(data: bytes) -> dict[str, NDArray[np.uint8]]:
    """By side, (n, 32, 32) uint8 in 0..255."""
    with np.load(io.BytesIO(data), allow_pickle=False) as packed:
        return {side: np.asarray(packed[side], dtype=np.uint8) for side in packed.files}


def _thin(groups: Sequence[PointGroup], seed: int) -> list[PointGroup]:
    """The groups with at most MAX_POINTS together, each thinned by the same share."""
    n = sum(len(group.features) for group in groups)
    if n <= MAX_POINTS:
        return list(groups)
    rng, kept = np.random.default_rng(seed), []
    for group in groups:
        rows = np.sort(rng.permutation(len(group.features))[: max(1, MAX_POINTS * len(group.features) // n)])
        kept.append(PointGroup(group.side, group.label, group.panel, group.features[rows]))
    return kept


def _draw_panel(axes: Any, panel: str, groups: Sequence[PointGroup], places: Sequence[NDArray[np.float64]]) -> None:
    everything = np.concatenate(places)
    axes.scatter(*everything.T, s=2, color="#dddddd", linewidths=0, rasterized=True)
    counts = []
    for side, (colour, marker, filling) in _LOOKS.items():
        for group, xy in zip(groups, places, strict=True):
            if group.side != side or group.panel != panel:
                continue
            face = colour if filling == "full" else "none"
            axes.scatter(*xy.T, s=7, marker=marker, facecolors=face, edgecolors=colour, linewidths=0.5, alpha=0.8)
            counts.append(f"{group.label} {len(xy):,}")
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_title(panel, fontsize=FONT_PT, fontweight="bold", color=INK)
    axes.set_xlabel(", ".join(counts), fontsize=FONT_PT - 1, color=INK)


def _legend(axes: Any, groups: Sequence[PointGroup]) -> list[Any]:
    labels = {group.side: group.label for group in groups}
    return [
        axes.scatter(
            [], [], s=18, marker=marker, facecolors=colour if filling == "full" else "none", edgecolors=colour,
            label=labels[side],
        )
        for side, (colour, marker, filling) in _LOOKS.items()
        if side in labels
    ]  # fmt: skip
