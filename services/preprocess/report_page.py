"""The analysis report as a page for people, which needs nothing but itself."""

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any

from services.preprocess.analysis import Counts
from services.preprocess.figures.captions import FIRST, caption, file_name

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:.5rem 0}td,th{border:1px solid #ccc;padding:.2rem .6rem;text-align:right}"
    "td:first-child,th:first-child,table.text td{text-align:left}td{overflow-wrap:anywhere}caption{text-align:left}"
    "figure{margin:1.5rem 0}img{max-width:100%}figcaption{font-size:.9em;color:#444}li.warning{color:#8a3b00}"
)
Rows = Sequence[Sequence[Any]]


def write_page(report: Mapping[str, Any], title: str, figures: Mapping[str, bytes]) -> bytes:
    """A page (HTML, UTF-8) that needs nothing but itself: sentences, tables, and the figures inside it.

    Args:
        report: as `build_report` gives it.
        title: heading of the page.
        figures: PNG bytes by file name; other files, and the first figure under its second name, are left out.
    """
    escaped = html.escape(title)
    warnings = "".join(f"<li class=warning>{html.escape(warning)}</li>" for warning in report["warnings"])
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escaped}</title><style>{_STYLE}</style>",
        f"<h1>{escaped}</h1><p>Recipe {html.escape(report['recipe']['name'])}: {report['n_images']:,} images came in, "
        f"{report['n_kept']:,} stay.</p>",
        f"<h2>What to beware of</h2><ul>{warnings or '<li>Nothing was found.</li>'}</ul>",
        "<h2>Images as uploaded</h2>" + _counts_table(report["counts"]) + _planes_table(report["planes"]["counts"]),
        "<h2>Images kept</h2>" + _counts_table(report["kept"]) + _planes_table(report["kept_planes"]),
        "<h2>Sizes, colour and blur</h2>" + _properties_table(report),
        "<h2>Copies</h2>" + _copies_section(report["duplicates"]),
        "<h2>Figures</h2>" + "".join(_figure(name, figures[name]) for name in _shown(figures)),
        "<h2>Why images were dropped</h2>" + _table(("reason", "images"), list(report["drop_reasons"].items())),
        "<h2>Every dropped image</h2>" + _drops_table(report["dropped"]),
    ]
    if report["skipped"]:
        parts.append("<h2>Files refused at the upload</h2>" + _drops_table(report["skipped"]))
    return "\n".join([*parts, "</html>"]).encode()


def _shown(figures: Mapping[str, bytes]) -> list[str]:
    doubled = file_name("counts") in figures
    return [name for name in figures if name.endswith(".png") and not (doubled and name == FIRST)]


def _figure(name: str, png: bytes) -> str:
    text = html.escape(caption(name))
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return f'<figure><img alt="{html.escape(name)}" src="{source}"><figcaption>{text}</figcaption></figure>'


def _counts_table(counts: Counts) -> str:
    classes = sorted({tumour_class for row in counts.values() for tumour_class in row})
    rows = [[split, *(row.get(name, 0) for name in classes), sum(row.values())] for split, row in counts.items()]
    return _table(("split", *classes, "total"), rows)


def _planes_table(counts: Mapping[str, Counts]) -> str:
    """Split, class and plane; empty where no plane is known."""
    planes = sorted({plane for split in counts.values() for row in split.values() for plane in row})
    if planes in ([], ["unknown"]):
        return ""
    rows = [
        [f"{split}, {tumour_class}", *(row.get(plane, 0) for plane in planes), sum(row.values())]
        for split, classes in counts.items()
        for tumour_class, row in classes.items()
    ]
    return _table(("plane of", *planes, "total"), rows)


def _properties_table(report: Mapping[str, Any]) -> str:
    def cell(counts: Counts, split: str, tumour_class: str) -> int:
        return counts.get(split, {}).get(tumour_class, 0)

    head = (
        "images of",
        "square",
        "within 10 %",
        "of the commonest size",
        "colour, study's test",
        "colour, any",
        "blurry",
    )
    rows = []
    for split, row in report["counts"].items():
        sizes = report["sizes"][split]
        rows += [
            [
                f"{split}, {name}",
                sizes["square_by_class"]["all"][name],
                sizes["within_10_percent_by_class"]["all"][name],
                f"{100 * sizes['commonest_share_by_class'][name]:.1f} %",
                cell(report["colour"]["chained"], split, name),
                cell(report["colour"]["strict"], split, name),
                cell(report["blur"]["blurry"], split, name),
            ]
            for name in row
        ]
    return _table(head, rows)


def _copies_section(duplicates: Mapping[str, Any]) -> str:
    near, leaks = duplicates["near"]["by_split"], duplicates["leaks"]
    within = [
        [split, row["groups"], row["surplus"], near[split]["groups"], near[split]["surplus"]]
        for split, row in duplicates["by_split"].items()
    ]
    head = ("within", "equal: groups", "equal: surplus", "all copies: groups", "all copies: surplus")
    across = [
        [name, found["exact"], found["near"], found["mirrored"], found["total"]]
        for name, found in (("all images", leaks["all"]), ("images kept", leaks["kept"]))
    ]
    section = _table(head, within)
    section += _table(
        ("Testing images that show a scan of Training", "equal", "near", "only mirrored", "total"), across
    )
    conflicts = [*duplicates["label_conflicts"]["exact"], *duplicates["label_conflicts"]["near"]]
    if conflicts:
        section += _table(("copies of different classes",), [[", ".join(names)] for names in conflicts])
    if leaks["pairs"]:
        fields = ("testing", "training", "correlation", "mirror", "kept")
        rows = [
            ["yes" if pair[f] is True else "no" if pair[f] is False else pair[f] for f in fields]
            for pair in leaks["pairs"]
        ]
        title = f"<details><summary>All {len(rows):,} leaks</summary>"
        section += (
            title + _table(("Testing", "Training", "correlation", "mirrored", "kept"), rows, text=True) + "</details>"
        )
    return section


def _drops_table(drops: Sequence[Mapping[str, str]]) -> str:
    rows = [[drop["name"], drop["reason"], drop["detail"]] for drop in drops]
    return _table(("name", "reason", "detail"), rows, text=True)


def _table(head: Sequence[str], rows: Rows, *, text: bool = False) -> str:
    if not rows:
        return "<p>None.</p>"
    top = "".join(f"<th>{html.escape(name)}" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{_text(value)}" for value in row) + "</tr>" for row in rows)
    return f"<table{' class=text' if text else ''}><tr>{top}</tr>{body}</table>"


def _text(value: Any) -> str:
    """The value for a table cell: counts with thousands separated, everything else escaped."""
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else html.escape(str(value))
