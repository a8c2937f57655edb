"""A report as CSV or HTML, from its JSON, for reports whose service made no such file itself."""

import csv
import html
import io
from collections.abc import Iterator
from typing import Any


def to_csv(report: dict[str, Any]) -> str:
    """Two columns, `name` and `value`: one row for each number, text or truth value, named by its path in the JSON."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["name", "value"])
    writer.writerows((name, _inert(value)) for name, value in _leaves(report, ""))
    return buffer.getvalue()


def to_html(title: str, report: dict[str, Any], files: list[str]) -> str:
    """A page without scripts: the images among `files` (URLs), then every value of the report."""
    pictures = "".join(f'<img src="{html.escape(url)}" alt="">' for url in files if url.endswith(".png"))
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(str(value))}</td></tr>"
        for name, value in _leaves(report, "")
    )
    return (
        f'<!doctype html><meta charset="utf-8"><title>{html.escape(title)}</title>'
        "<style>body{font:14px system-ui;margin:2em;max-width:70em}img{max-width:100%}"
        "td{padding:.2em 1em .2em 0;border-bottom:1px solid #ddd;vertical-align:top}</style>"
        f"<h1>{html.escape(title)}</h1>{pictures}<table>{rows}</table>"
    )


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        yield path, value


def _inert(value: Any) -> Any:
    """A text that a spreadsheet would run as a formula, made plain (OWASP, CSV injection)."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
