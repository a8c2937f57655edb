"""A classifier's test as CSV, as a confusion matrix to print, and as one HTML page that needs no other file."""

import base64
import csv
import html
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DISCLAIMER = "For research only. Not a medical device; not for diagnosis."
PRINT_DPI = 300
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}"
    "table{border-collapse:collapse;margin:1rem 0}"
    "td,th{padding:.3rem .7rem;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left}img{max-width:100%}small{color:#555}"
)

_PLAIN_NUMBER = re.compile(r"[+-]?[0-9]*\.?[0-9]*")

Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Headings, and rows of cells as they are shown."""


def metrics_table(summary: dict[str, Any]) -> Table:
    """Precision, recall, F1 and support per class, then the averages, from `metrics.summarise`."""
    rows = [[name, *_shares(figures), str(figures["support"])] for name, figures in summary["per_class"].items()]
    rows += [[f"{name} average", *_shares(summary[name]), str(summary["n_images"])] for name in ("macro", "weighted")]
    rows.append(["accuracy", "", "", f"{summary['accuracy']:.4f}", str(summary["n_images"])])
    return ("class", "precision", "recall", "f1", "images"), rows


def table_to_csv(table: Table) -> bytes:
    """The table as UTF-8 CSV with a heading line; texts that a spreadsheet would run as formulas are made plain."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table[0])
    writer.writerows([_inert(cell) for cell in row] for row in table[1])
    return text.getvalue().encode()


def page(title: str, table: Table, chart_png: bytes, notes: Sequence[str]) -> bytes:
    """One HTML page with the table, the chart inside it, and the notes; it loads nothing from elsewhere."""
    heads = "".join(f"<th>{html.escape(cell)}</th>" for cell in table[0])
    rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in table[1])
    chart = base64.b64encode(chart_png).decode()
    remarks = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{html.escape(title)}</h1><table><tr>{heads}</tr>{rows}</table>"
        f'<img alt="chart" src="data:image/png;base64,{chart}"><ul>{remarks}</ul><small>{DISCLAIMER}</small></html>'
    )
    return text.encode()


def draw_confusion(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> bytes:
    """A PNG of the confusion matrix: counts, shaded by the share of the true class.

    Args:
        confusion: rows true, columns predicted.
        classes: the class of each row and column.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6, 3.2), layout="constrained")
    axes = figure.subplots()
    shares = [[n / max(1, sum(row)) for n in row] for row in confusion]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, row in enumerate(confusion):
        for j, n in enumerate(row):
            ink = "white" if shares[i][j] > 0.5 else "black"
            axes.text(j, i, str(n), ha="center", va="center", color=ink, fontsize=9)
    axes.set_xticks(range(len(classes)), classes, rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(len(classes)), classes, fontsize=8)
    axes.set_xlabel("predicted class", fontsize=9)
    axes.set_ylabel("true class", fontsize=9)
    return to_png(figure)


def to_png(figure: "Figure") -> bytes:
    """The figure as PNG bytes at print resolution, drawn without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=PRINT_DPI)
    return buffer.getvalue()


def _inert(cell: str) -> str:
    """The cell, with a leading quote if a spreadsheet would run it as a formula (OWASP, CSV injection).

    Signed numbers, which the tables show as texts, and the dash of a missing value stay as they are.
    """
    if _PLAIN_NUMBER.fullmatch(cell) or not cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return cell
    return "'" + cell


def _shares(figures: dict[str, float]) -> list[str]:
    return [f"{figures[key]:.4f}" for key in ("precision", "recall", "f1")]
