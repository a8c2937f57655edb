"""Charts of the analysis report, as PNG bytes. Matplotlib is imported when the first chart is drawn."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.preprocess.analysis import Counts, Measurement

_COLOURS = {
    "glioma": "#b5423c",
    "meningioma": "#d99a2b",
    "notumor": "#4f7f52",
    "pituitary": "#3b6ea5",
    "unknown": "#808080",
}


def draw_counts(before: Counts, after: Counts) -> bytes:
    """A PNG bar chart: images of each class and split, as uploaded (pale) and as kept (full)."""
    labels = [(split, tumour_class) for split, row in before.items() for tumour_class in row]
    figure, (axes,) = _figure(1, width=max(5.0, 1.15 * len(labels)))
    raw = [before[split][tumour_class] for split, tumour_class in labels]
    kept = [after.get(split, {}).get(tumour_class, 0) for split, tumour_class in labels]
    colours = [_COLOURS.get(tumour_class, "#808080") for _, tumour_class in labels]
    axes.bar(range(len(labels)), raw, color=colours, alpha=0.35, label="uploaded")
    axes.bar(range(len(labels)), kept, color=colours, label="kept")
    for position, (n_raw, n_kept) in enumerate(zip(raw, kept, strict=True)):
        axes.annotate(f"{n_kept} of {n_raw}", (position, n_raw), ha="center", va="bottom", fontsize=8)
    axes.set_xticks(range(len(labels)), [f"{tumour_class}\n{split}" for split, tumour_class in labels], fontsize=8)
    axes.set_ylabel("images")
    axes.set_title("Images per class: uploaded (pale) and kept")
    return _png(figure)


def draw_sizes(images: Sequence[Measurement]) -> bytes:
    """A PNG with two panels: native width against height, and how sharp the images of each class are."""
    figure, (left, right) = _figure(2, width=10.0)
    for tumour_class in sorted({image.tumour_class or "unknown" for image in images}):
        members = [image for image in images if (image.tumour_class or "unknown") == tumour_class]
        colour = _COLOURS.get(tumour_class, "#808080")
        widths, heights = [image.width for image in members], [image.height for image in members]
        left.scatter(widths, heights, s=9, alpha=0.4, color=colour, label=tumour_class, linewidths=0)
        # Sharpness spans four decades, hence the logarithm; +1 keeps constant images on the axis.
        sharpness = np.log10([image.sharpness + 1.0 for image in members])
        right.hist(sharpness, bins=np.linspace(0, 5, 51).tolist(), histtype="step", color=colour, label=tumour_class)
    left.set(xlabel="width, px", ylabel="height, px", title="Native sizes")
    right.axvline(np.log10(51.0), color="black", linewidth=0.8, linestyle=":")
    right.set(xlabel="log10(Laplacian variance + 1)", ylabel="images", title="Sharpness (left of the line: blurry)")
    left.legend(fontsize=8)
    right.legend(fontsize=8)
    return _png(figure)


def draw_examples(pairs: Mapping[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> bytes:
    """A PNG with one column per class: an image as uploaded above, the same image as prepared below.

    Args:
        pairs: by class, two (H, W) uint8 arrays in 0..255.
    """
    figure, axes = _figure(len(pairs), width=2.3 * len(pairs), rows=2)
    for column, (tumour_class, (raw, prepared)) in enumerate(pairs.items()):
        for row, (pixels, title) in enumerate(((raw, tumour_class), (prepared, "prepared"))):
            panel = axes[row * len(pairs) + column]
            panel.imshow(pixels, cmap="gray", vmin=0, vmax=255)
            panel.set_title(f"{title}, {pixels.shape[1]} x {pixels.shape[0]}", fontsize=8)
            panel.set_axis_off()
    return _png(figure)


def _figure(columns: int, *, width: float, rows: int = 1) -> tuple[Any, list[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, 2.5 * rows if rows > 1 else 3.8), layout="constrained")
    FigureCanvasAgg(figure)  # no pyplot: its global state is not safe in a worker
    return figure, list(np.atleast_1d(figure.subplots(rows, columns)).ravel())


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    # Without metadata the same data give the same bytes, whatever the library version says of itself.
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
