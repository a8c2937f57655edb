"""The analysis report: JSON with warnings in plain words, a table of every image, and a page for people."""

import base64
import csv
import html
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from services.preprocess.analysis import Counts, Measurement, analyse, count_by_class
from services.preprocess.recipe import Recipe
from services.preprocess.selection import Drop

_SIZE_SHARE_GAP = 0.5
_FIELDS = (
    "name",
    "split",
    "tumour_class",
    "width",
    "height",
    "format",
    "mode",
    "colour_strict",
    "sharpness",
    "mean_gray",
)
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:.5rem 0}td,th{border:1px solid #ccc;padding:.2rem .6rem;text-align:right}"
    "td:first-child,th:first-child{text-align:left}img{max-width:100%}li.warning{color:#8a3b00}"
)


def build_report(
    images: Sequence[Measurement], drops: Sequence[Drop], unreadable: Sequence[Drop], recipe: Recipe
) -> dict[str, Any]:
    """The report as JSON: what came in, what stays, every image that does not and why, and what to beware of.

    Args:
        images: every readable image.
        drops: readable images that are left out.
        unreadable: images that could not be read; their reason is the error's code.
        recipe: what was done.
    """
    analysis = analyse(images)
    dropped = {drop.name for drop in drops}
    kept = count_by_class((image.split, image.tumour_class) for image in images if image.name not in dropped)
    return {
        "recipe": recipe.model_dump(),
        "n_images": len(images) + len(unreadable),
        "n_kept": len(images) - len(dropped),
        "n_dropped": len(dropped) + len(unreadable),
        "kept": kept,
        "drop_reasons": dict(Counter(drop.reason for drop in (*drops, *unreadable)).most_common()),
        "dropped": [
            {"name": drop.name, "reason": drop.reason, "detail": drop.detail} for drop in (*drops, *unreadable)
        ],
        "warnings": write_warnings(images, analysis, unreadable, recipe),
        **analysis,
    }


def write_warnings(
    images: Sequence[Measurement], analysis: Mapping[str, Any], unreadable: Sequence[Drop], recipe: Recipe
) -> list[str]:
    """Sentences on what may mislead whoever trains or tests on this set."""
    warnings: list[str] = []
    leaks = analysis["duplicates"]["testing_in_training"]
    if leaks:
        fate = (
            "were set aside"
            if recipe.duplicates == "across_splits"
            else "are kept by this recipe and flatter a classifier"
        )
        warnings.append(f"{len(leaks)} Testing images have the same pixels as a Training image; they {fate}.")
    if conflicts := analysis["duplicates"]["label_conflicts"]:
        warnings.append(f"{len(conflicts)} groups of equal images bear different classes: check their labels.")
    if coloured := sum(image.colour_strict for image in images):
        warnings.append(f"{coloured} images hold colour and may be screenshots with annotations.")
    if blurry := sum(image.is_blurry for image in images):
        share = 100 * blurry / len(images)
        warnings.append(f"{blurry} images ({share:.0f} %) have a Laplacian variance below 50 and count as blurry.")
    if unreadable:
        warnings.append(f"{len(unreadable)} files could not be read; the list of dropped images names them.")
    if sentence := _size_shortcut(images):
        warnings.append(sentence)
    return warnings


def _size_shortcut(images: Sequence[Measurement]) -> str | None:
    """A warning if one native size is common in some class and rare in another: a shortcut for a classifier."""
    if not images:
        return None
    (width, height), _ = Counter((image.width, image.height) for image in images).most_common(1)[0]
    totals, hits = Counter[str](), Counter[str]()
    for image in images:
        if image.tumour_class:
            totals[image.tumour_class] += 1
            hits[image.tumour_class] += (image.width, image.height) == (width, height)
    shares = {tumour_class: hits[tumour_class] / n for tumour_class, n in sorted(totals.items())}
    if len(shares) < 2 or max(shares.values()) - min(shares.values()) < _SIZE_SHARE_GAP:
        return None
    listed = ", ".join(f"{tumour_class} {100 * share:.0f} %" for tumour_class, share in shares.items())
    return f"Native size tells classes apart: {width} x {height} is the size of {listed}; resizing leaves its traces."


def write_table(images: Sequence[Measurement], drops: Sequence[Drop], unreadable: Sequence[Drop]) -> bytes:
    """A CSV table (UTF-8), one row for each image of the raw set: its measurements, and why it was dropped if so."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*("class" if field == "tumour_class" else field for field in _FIELDS), "kept", "reason", "detail"])
    by_name = {drop.name: drop for drop in drops}
    for image in images:
        drop = by_name.get(image.name)
        verdict = ["no", drop.reason, drop.detail] if drop else ["yes", "", ""]
        writer.writerow([_cell(getattr(image, field)) for field in _FIELDS] + verdict)
    for drop in unreadable:
        writer.writerow([_cell(drop.name), *[""] * (len(_FIELDS) - 1), "no", drop.reason, drop.detail])
    return buffer.getvalue().encode()


def _cell(value: Any) -> Any:
    """The value, with a leading quote if a spreadsheet would run it as a formula (OWASP, CSV injection)."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return "" if value is None else value


def write_page(report: Mapping[str, Any], title: str, figures: Mapping[str, bytes]) -> bytes:
    """A page (HTML, UTF-8) that needs nothing but itself: sentences, tables, and the charts inside it.

    Args:
        report: as `build_report` gives it.
        title: heading of the page.
        figures: PNG bytes by file name.
    """
    escaped = html.escape(title)
    parts = [f"<!doctype html><html lang=en><meta charset=utf-8><title>{escaped}</title><style>{_STYLE}</style>"]
    parts.append(f"<h1>{escaped}</h1><p>{report['n_images']} images came in, {report['n_kept']} stay.</p>")
    warnings = "".join(f"<li class=warning>{html.escape(warning)}</li>" for warning in report["warnings"])
    parts.append(f"<h2>What to beware of</h2><ul>{warnings or '<li>Nothing was found.</li>'}</ul>")
    parts.append("<h2>Images as uploaded</h2>" + _counts_table(report["counts"]))
    parts.append("<h2>Images kept</h2>" + _counts_table(report["kept"]))
    reasons = "".join(f"<tr><td>{html.escape(reason)}<td>{n}</tr>" for reason, n in report["drop_reasons"].items())
    parts.append(f"<h2>Why images were dropped</h2><table><tr><th>reason<th>images</tr>{reasons}</table>")
    for name, png in figures.items():
        parts.append(f'<p><img alt="{html.escape(name)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">')
    names = "".join(
        f"<tr><td>{html.escape(drop['name'])}<td>{html.escape(drop['reason'])}<td>{html.escape(drop['detail'])}</tr>"
        for drop in report["dropped"]
    )
    parts.append(f"<h2>Every dropped image</h2><table><tr><th>name<th>reason<th>detail</tr>{names}</table></html>")
    return "\n".join(parts).encode()


def _counts_table(counts: Counts) -> str:
    classes = sorted({tumour_class for row in counts.values() for tumour_class in row})
    head = "".join(f"<th>{html.escape(tumour_class)}" for tumour_class in classes)
    rows = ""
    for split, row in counts.items():
        cells = "".join(f"<td>{row.get(name, 0)}" for name in classes)
        rows += f"<tr><td>{html.escape(split)}{cells}<td>{sum(row.values())}</tr>"
    return f"<table><tr><th>split{head}<th>total</tr>{rows}</table>"
