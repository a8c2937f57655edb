"""The tables of an audit as CSV: findings and cues, the copies, and every nearest pair."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

SIDES: Final = ("synthetic", "reference", "baseline")
COLUMNS: Final = (
    "row", "check", "class", "severity", "what", "unit",
    *(f"{side}_{part}" for side in SIDES for part in ("median", "low", "high")),
    "difference", "ratio", "effect_size", "effect_low", "effect_high", "sentence",
)  # fmt: skip
"""Columns of table.csv: `row` is finding, cue, detector or usefulness; `low` and `high` end a range or an interval."""
PAIR_COLUMNS: Final = (
    "class", "name", "nearest", "mirrored", "angle_deg", "correlation", "coarse_correlation", "edge_correlation",
)  # fmt: skip


def render_table(report: Mapping[str, Any]) -> bytes:
    """Findings, then cues and detectors by class, then usefulness; UTF-8, numbers with all their digits."""
    return _write(COLUMNS, _rows(report))


def render_copies(report: Mapping[str, Any]) -> bytes:
    """One row per copy: which real image of the reference it is, and how it was mirrored or turned."""
    found = {
        name: found["memorisation"]["copies"] for name, found in report["classes"].items() if "memorisation" in found
    }
    return render_pairs(found)


def render_pairs(pairs: Mapping[str, Sequence[Mapping[str, Any]]]) -> bytes:
    """One row per pair, class by class."""
    return _write(PAIR_COLUMNS, ({"class": name, **pair} for name, some in pairs.items() for pair in some))


def _rows(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for finding in report["findings"]:
        yield {"row": "finding", **{key: finding.get(key) for key in ("check", "class", "severity", "sentence")}}
    for tumour_class, found in report["classes"].items():
        shortcuts = found.get("shortcuts")
        if not shortcuts:
            continue
        for cue in shortcuts["cues"]:
            yield {"row": "cue", "check": "shortcuts", "class": tumour_class, "what": cue["cue"], **_cue(cue)}
        detector = shortcuts["detector"]
        yield {
            "row": "detector",
            "check": "shortcuts",
            "class": tumour_class,
            "what": "AUC, real against synthetic",
            "synthetic_median": detector["auc"],
            "synthetic_low": detector["low"],
            "synthetic_high": detector["high"],
            "baseline_median": detector.get("auc_of_baseline"),
        }
    for kind in ("synthetic", "real") if report["usefulness"] else ():
        entry = report["usefulness"][kind]
        yield {
            "row": "usefulness",
            "check": "usefulness",
            "what": f"accuracy on real images after training on {kind} ones",
            "synthetic_median" if kind == "synthetic" else "reference_median": entry["accuracy"],
            **_ends("synthetic" if kind == "synthetic" else "reference", entry["interval"]),
        }
    if report["usefulness"] and (gap := report["usefulness"]["difference"]):
        what = "accuracy after training on real images, less that after synthetic ones"
        row = {"row": "usefulness", "check": "usefulness", "what": what, "difference": gap["accuracy"]}
        yield {**row, **_ends("effect", gap["interval"])}


def _cue(cue: Mapping[str, Any]) -> dict[str, Any]:
    row = {key: cue.get(key) for key in ("severity", "unit", "difference", "ratio", "effect_size", "sentence")}
    for side in SIDES:
        for part in ("median", "low", "high"):
            row[f"{side}_{part}"] = (cue.get(side) or {}).get(part)
    return {**row, **_ends("effect", cue.get("interval"))}


def _ends(prefix: str, interval: Any) -> dict[str, Any]:
    if interval is None:
        return {}
    low, high = (interval["low"], interval["high"]) if isinstance(interval, Mapping) else interval
    return {f"{prefix}_low": low, f"{prefix}_high": high}


def _write(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n", extrasaction="ignore", restval=None)
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _inert(value) for key, value in row.items()})
    return out.getvalue().encode()


def _inert(value: Any) -> Any:
    """A text that a spreadsheet would run as a formula, made plain (OWASP, CSV injection); file names may be one."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
