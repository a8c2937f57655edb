"""The picture of a report: each score of the synthetic images beside the same score of real images."""

import io
from typing import Any

from services.evaluator.reports.evaluation import format_number

SYNTHETIC_COLOUR = "#0072b2"
REAL_COLOUR = "#9aa5b1"
"""Blue of the Okabe-Ito palette, told apart from gray by every kind of colour vision and in print."""


def draw_chart(report: dict[str, Any]) -> bytes:
    """PNG with one panel per metric: bars with 95 % intervals, each with its value and its n."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    entries = report["metrics"]
    figure = Figure(figsize=(3.1 * max(len(entries), 2), 3.9), dpi=160, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(entries), squeeze=False)[0]
    for axes, entry in zip(panels, entries, strict=True):
        _draw_panel(axes, entry)
    tumour_class = report["class"] or "all classes"
    figure.suptitle(f"Synthetic against real MRIs: {tumour_class}", fontsize=11, fontweight="bold")
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def _draw_panel(axes: Any, entry: dict[str, Any]) -> None:
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
    axes.set_title(_wrap(entry["label"]), fontsize=9)
    axes.tick_params(axis="y", labelsize=8)
    axes.margins(y=0.18)
    axes.axhline(0, color="#1b1f24", linewidth=0.8)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel(f"{entry['better']} is better", fontsize=8, color="#57606a")


def _draw_bar(axes: Any, x: int, scored: dict[str, Any], colour: str) -> None:
    value, interval = scored["value"], scored["interval"]
    axes.bar(x, value, width=0.62, color=colour)
    top = max(value, 0.0)
    if interval is not None:
        arms = [[max(value - interval["low"], 0.0)], [max(interval["high"] - value, 0.0)]]
        axes.errorbar(x, value, yerr=arms, color="#1b1f24", capsize=4, linewidth=1.2)
        top = max(top, interval["high"])
    axes.annotate(
        format_number(value), (x, top), (0, 3), textcoords="offset points", ha="center", va="bottom", fontsize=9
    )


def _wrap(label: str) -> str:
    """The label on two lines, broken before its parenthesis or after its comma."""
    return label.replace(" (", "\n(").replace(", ", ",\n")
