"""The picture of a report: each score of the synthetic images beside the same score of real images."""

import io
from typing import Any

from services.evaluator.reports.evaluation import format_number, tables_of

SYNTHETIC_COLOUR = "#0072b2"
REAL_COLOUR = "#9aa5b1"
"""Blue of the Okabe-Ito palette, told apart from gray by every kind of colour vision and in print."""


MAX_COLUMNS = 4
"""Panels beside each other; more go on a further row."""


def draw_chart(report: dict[str, Any]) -> bytes:
    """PNG with one panel per metric: bars with 95 % intervals, each with its value and its n, for each class."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tables = tables_of(report)
    metrics = [entry["metric"] for entry in report["metrics"]]
    columns = min(len(metrics), MAX_COLUMNS if len(tables) == 1 else 2)
    rows = -(-len(metrics) // columns)
    width = 3.1 if len(tables) == 1 else 1.2 + 1.45 * len(tables)
    figure = Figure(
        figsize=(width * max(columns, 2), 3.7 * rows + 0.2), dpi=160, layout="constrained", facecolor="white"
    )
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, metric in zip(panels, metrics, strict=False):
        found = [(table, entry) for table in tables for entry in table["metrics"] if entry["metric"] == metric]
        if len(tables) == 1:
            _draw_panel(axes, found[0][1])
        else:
            _draw_classes(axes, found)
        _finish_panel(axes, found[0][1])
    for axes in panels[len(metrics) :]:
        axes.set_axis_off()
    tumour_class = report["class"] or "all classes"
    figure.suptitle(f"Synthetic against real MRIs: {tumour_class}", fontsize=11, fontweight="bold")
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def _draw_panel(axes: Any, entry: dict[str, Any]) -> None:
    """Two bars: synthetic, and the same score of real images."""
    of_one_set = entry["metric"] == "is"
    sizes = str(entry["n_synthetic"]) if of_one_set else f"{entry['n_synthetic']} / {entry['n_real']}"
    bars = [(f"{'synthetic' if of_one_set else 'synthetic vs real'}\nn = {sizes}", entry, SYNTHETIC_COLOUR)]
    if entry["real"]:
        sizes = " / ".join(str(n) for n in entry["real"]["n"])
        words = "real" if of_one_set else "real vs real"
        bars.append((f"{words}\nn = {sizes}", entry["real"], REAL_COLOUR))
    for x, (_, scored, colour) in enumerate(bars):
        _draw_bar(axes, x, scored, colour)
    axes.set_xticks(range(len(bars)), [label for label, _, _ in bars], fontsize=8)
    axes.set_xlim(-0.6, len(bars) - 0.4)


def _draw_classes(axes: Any, found: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """A pair of bars for all images and for each class: synthetic, and the same score of real images."""
    labels = []
    for x, (table, entry) in enumerate(found):
        _draw_bar(axes, x - 0.21, entry, SYNTHETIC_COLOUR, width=0.4, fontsize=7)
        if entry["real"]:
            _draw_bar(axes, x + 0.21, entry["real"], REAL_COLOUR, width=0.4, fontsize=7)
        labels.append(f"{table['class'] or 'all'}\n{entry['n_synthetic']} / {entry['n_real']}")
    axes.set_xticks(range(len(found)), labels, fontsize=8)
    axes.set_xlim(-0.6, len(found) - 0.4)
    for colour, label in ((SYNTHETIC_COLOUR, "synthetic"), (REAL_COLOUR, "real")):
        axes.bar(0, 0, color=colour, label=label)
    axes.legend(fontsize=7, frameon=False, loc="upper right", ncols=2)


def _finish_panel(axes: Any, entry: dict[str, Any]) -> None:
    axes.set_title(_wrap(entry["label"]), fontsize=9)
    axes.tick_params(axis="y", labelsize=8)
    axes.margins(y=0.18)
    axes.axhline(0, color="#1b1f24", linewidth=0.8)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel(f"{entry['better']} is better", fontsize=8, color="#57606a")


def _draw_bar(
    axes: Any, x: float, scored: dict[str, Any], colour: str, *, width: float = 0.62, fontsize: int = 9
) -> None:
    value, interval = scored["value"], scored["interval"]
    axes.bar(x, value, width=width, color=colour)
    top = max(value, 0.0)
    if interval is not None:
        arms = [[max(value - interval["low"], 0.0)], [max(interval["high"] - value, 0.0)]]
        axes.errorbar(x, value, yerr=arms, color="#1b1f24", capsize=4, linewidth=1.2)
        top = max(top, interval["high"])
    axes.annotate(
        format_number(value), (x, top), (0, 3), textcoords="offset points", ha="center", va="bottom", fontsize=fontsize
    )


def _wrap(label: str) -> str:
    """The label on two lines, broken before its parenthesis or after its comma."""
    return label.replace(" (", "\n(").replace(", ", ",\n")
