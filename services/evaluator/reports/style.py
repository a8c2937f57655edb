"""What the pictures of a report share: colours, type, panels, and how they become bytes; Matplotlib loads on use."""

import io
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SYNTHETIC_COLOUR: Final = "#0072b2"
REFERENCE_COLOUR: Final = "#4d4d4d"
BASELINE_COLOUR: Final = "#e69f00"
"""Blue and orange of the Okabe-Ito palette and a dark gray: told apart by every kind of colour vision, and in print
by their lightness; every picture also gives them shapes or dashes of their own."""
CLASS_MARKS: Final = {"glioma": "o", "meningioma": "s", "notumor": "^", "pituitary": "D"}
CLASS_COLOURS: Final = {"glioma": "#0072b2", "meningioma": "#e69f00", "notumor": "#009e73", "pituitary": "#cc79a7"}
"""Okabe and Ito 2008, https://jfly.uni-koeln.de/color/."""
WIDTH_IN: Final = 7.2
"""A figure across two columns of a journal, 183 mm."""
FONT_PT: Final = 8.0
DPI: Final = 200
INK: Final = "#262626"
PALE: Final = "#8c8c8c"


def label_sides(split: str) -> dict[str, str]:
    """What the sides are called: by side, for the split that the reference is of, or "all" of a set without splits."""
    other = "Testing" if split == "Training" else "Training"
    reference = "real" if split == "all" else f"real {split}"
    return {"synthetic": "synthetic", "reference": reference, "baseline": f"real {other}"}


def new_figure(height_in: float, width_in: float = WIDTH_IN) -> "Figure":
    """An empty figure on a canvas of its own: pyplot keeps global state that two threads must not share."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def dress(axes: "Axes", *, title: str = "", xlabel: str = "", ylabel: str = "") -> None:
    """Labels and ticks of one size, and no frame but the two axes."""
    axes.set_title(title, fontsize=FONT_PT, loc="left", fontweight="bold", color=INK)
    axes.set_xlabel(xlabel, fontsize=FONT_PT, color=INK)
    axes.set_ylabel(ylabel, fontsize=FONT_PT, color=INK)
    axes.tick_params(labelsize=FONT_PT, color=INK, labelcolor=INK, width=0.6, length=3)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_linewidth(0.6)


def clear(axes: "Axes") -> None:
    """No ticks and no frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def caption(figure: "Figure", text: str) -> None:
    """The sentence below a figure that says what is shown, with n; broken to the figure's width."""
    import textwrap

    per_line = int(figure.get_figwidth() * 72 / (FONT_PT * 0.53))  # a letter is about half as wide as it is high
    figure.supxlabel("\n".join(textwrap.wrap(text, per_line)), fontsize=FONT_PT - 0.5, color=INK, x=0.01, ha="left")


def to_png(figure: "Figure", dpi: int = DPI) -> bytes:
    """The figure as PNG, without metadata, so that the same data give the same bytes; gray figures are stored gray."""
    import numpy as np
    from PIL import Image

    canvas: Any = figure.canvas
    figure.set_dpi(dpi)
    canvas.draw()
    rgb = np.asarray(canvas.buffer_rgba())[..., :3]
    gray = bool((rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 1] == rgb[..., 2]).all())
    out = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(rgb[..., 0] if gray else rgb))
    image.save(out, format="PNG", dpi=(dpi, dpi))
    return out.getvalue()


def shorten(text: str, most: int) -> str:
    """The text, without its middle if it is longer than `most` characters."""
    if len(text) <= most:
        return text
    head = (most - 1) // 3
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


def plain(text: str) -> str:
    """The text as Matplotlib must show it: file names may hold a dollar, which would begin a formula."""
    return text.replace("$", r"\$")
