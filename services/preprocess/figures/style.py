"""What all figures share: size, type, colours, panels, and how they become bytes; Matplotlib is imported on use."""

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from services.preprocess.analysis import UNKNOWN
from shared.tumour import Plane, TumourClass

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN = 7.2
"""A figure across two columns of a journal, 183 mm."""
FONT_PT = 8.0
LINE_DPI, IMAGE_DPI = 300, 200
SHOWN_PX = 512
"""No image is shown with a longer side; more would not print, and a 50-megapixel slice would fill the memory."""

# Chosen so that each two differ by 36 or more (CIELAB) for normal sight and for protan, deutan and tritan vision, as
# simulated by Machado et al. 2009 (doi:10.1109/TVCG.2009.113).
CLASS_COLOURS = {
    TumourClass.GLIOMA: "#B93A1E",
    TumourClass.MENINGIOMA: "#F0B400",
    TumourClass.NOTUMOR: "#4DB38C",
    TumourClass.PITUITARY: "#1F4E9C",
}
# The same for planes: 49 or more.
PLANE_COLOURS = {Plane.AXIAL: "#56B4E9", Plane.CORONAL: "#882255", Plane.SAGITTAL: "#DDCC77"}
NEUTRAL = "#8C8C8C"
_PAD_IN = 0.06
INK = "#262626"


def class_colour(tumour_class: str) -> str:
    """The colour of a class; gray for images without one."""
    return {str(key): colour for key, colour in CLASS_COLOURS.items()}.get(tumour_class, NEUTRAL)


def plane_colour(plane: str | None) -> str:
    """The colour of a plane; gray for images without one."""
    return {str(key): colour for key, colour in PLANE_COLOURS.items()}.get(plane or UNKNOWN, NEUTRAL)


def pale(colour: str) -> str:
    """The colour mixed with white, for what was uploaded beside what is kept; opaque, so that none shines through."""
    levels = [round(255 - 0.35 * (255 - int(colour[k : k + 2], 16))) for k in (1, 3, 5)]
    return "#" + "".join(f"{level:02X}" for level in levels)


def in_order(names: Iterable[str | None]) -> list[str]:
    """Classes, planes or splits in the platform's order, without repeats; what is unknown comes last."""
    order = [*TumourClass, "Training", "Testing", *Plane]
    found = {name or UNKNOWN for name in names}
    return sorted(found, key=lambda name: (order.index(name) if name in order else len(order), name == UNKNOWN, name))


def new_figure(height_in: float, width_in: float = WIDTH_IN) -> "Figure":
    """An empty figure on a canvas of its own: pyplot keeps global state that two threads must not share."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(width_in, height_in), layout=ConstrainedLayoutEngine(w_pad=_PAD_IN, h_pad=_PAD_IN))
    FigureCanvasAgg(figure)
    return figure


def dress(axes: "Axes", *, title: str = "", xlabel: str = "", ylabel: str = "") -> None:
    """Labels and ticks of one size, and no frame but the two axes."""
    axes.set_title(title, fontsize=FONT_PT, loc="left", fontweight="bold", color=INK)
    axes.set_xlabel(xlabel, fontsize=FONT_PT, color=INK)
    axes.set_ylabel(ylabel, fontsize=FONT_PT, color=INK)
    axes.tick_params(labelsize=FONT_PT, color=INK, labelcolor=INK, width=0.6, length=3, which="major")
    axes.tick_params(which="minor", length=1.5, width=0.4)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_linewidth(0.6)


def thousands(axis: Any) -> None:
    """Ticks at whole numbers, 1,000 with its comma, and at most five of them."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10], integer=True))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def show_image(axes: "Axes", pixels_u8: NDArray[np.uint8] | None, title: str = "", *, bold: bool = True) -> None:
    """An image in its own gray levels, black 0 and white 255, in the middle of a square; an empty square for None.

    Args:
        axes: the panel.
        pixels_u8: (H, W) uint8, gray levels 0..255.
        title: above it.
        bold: whether the title is the head of a column.
    """
    if pixels_u8 is None:
        axes.set_aspect("equal")
    else:
        axes.imshow(fit_longest(pixels_u8), cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
        frame_square(axes, fit_longest(pixels_u8).shape)
    if title:
        axes.set_title(title, fontsize=FONT_PT, color=INK, pad=3, fontweight="bold" if bold else "normal")
    clear(axes)


def frame_square(axes: "Axes", shape: tuple[int, ...]) -> None:
    """Make the panel of an image of this shape, rows and columns, square, so that panels line up."""
    height, width = shape[:2]
    side = max(height, width)
    axes.set_xlim((width - side) / 2 - 0.5, (width + side) / 2 - 0.5)
    axes.set_ylim((height + side) / 2 - 0.5, (height - side) / 2 - 0.5)


def clear(axes: "Axes") -> None:
    """No ticks and no frame; the panel keeps its labels."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def fit_longest(pixels_u8: NDArray[np.uint8], longest_px: int = SHOWN_PX) -> NDArray[np.uint8]:
    """The image, reduced by averaging if its longer side is above `longest_px`.

    Args:
        pixels_u8: (H, W) uint8, gray levels 0..255.
        longest_px: the most that the longer side may be.
    """
    height, width = pixels_u8.shape
    scale = longest_px / max(height, width)
    if scale >= 1:
        return pixels_u8
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(pixels_u8, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def shorten(text: str, most: int) -> str:
    """The text, without its middle if it is longer than `most` characters."""
    if len(text) <= most:
        return text
    head = (most - 1) // 3
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


def to_png(figure: "Figure", dpi: int = LINE_DPI) -> bytes:
    """The figure as PNG; without metadata, so that the same data give the same bytes. Gray figures are stored gray."""
    from PIL import Image

    canvas: Any = figure.canvas
    figure.set_dpi(dpi)
    canvas.draw()
    figure.set_layout_engine("none")  # it is laid out now; the PDF need not do that again
    rgb = np.asarray(canvas.buffer_rgba())[..., :3]
    gray = bool((rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 1] == rgb[..., 2]).all())
    image = Image.fromarray(np.ascontiguousarray(rgb[..., 0] if gray else rgb))
    written = io.BytesIO()
    image.save(written, format="PNG", dpi=(dpi, dpi))
    return written.getvalue()


def to_pdf(figures: Iterable["Figure"]) -> bytes:
    """One PDF with a figure on each page, as vectors with type embedded as TrueType, which journals ask for.

    In one file the type is embedded once. There is no metadata, so that the same data give the same bytes.
    """
    import logging

    import matplotlib
    from matplotlib.backends.backend_pdf import PdfPages

    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells every step of every font
    buffer = io.BytesIO()
    nothing: dict[str, Any] = dict.fromkeys(("Creator", "Producer", "CreationDate"))
    with matplotlib.rc_context({"pdf.fonttype": 42}), PdfPages(buffer, metadata=nothing) as pages:
        for figure in figures:
            pages.savefig(figure)
    return buffer.getvalue()
