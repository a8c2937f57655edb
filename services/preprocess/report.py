"""The analysis report: JSON with warnings in plain words, and a table of every image; `report_page` shows it."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from services.preprocess.analysis import Measurement, analyse, count_by_class, count_planes, is_unsure
from services.preprocess.cautions import write_warnings
from services.preprocess.findings import Findings
from services.preprocess.leakage import number_copies, summarise_copies, summarise_groups
from services.preprocess.report_page import write_page
from services.preprocess.selection import Drop

__all__ = ["build_report", "write_page", "write_table"]

_MEASURED = (
    "plane",
    "plane_confidence",
    "plane_source",
    "group",
    "width",
    "height",
    "format",
    "mode",
    "depth_bits",
    "colour_chained",
    "colour_strict",
    "sharpness",
    "is_blurry",
    "mean_gray",
    "contrast",
    "n_letters",
)
_COLUMNS = (
    "name",
    "split",
    "class",
    *("blurry" if field == "is_blurry" else field for field in _MEASURED),
    "copy_group",
    "leaks_from",
    "leak_correlation",
    "leak_mirror",
    "kept",
    "reason",
    "detail",
)


def build_report(findings: Findings) -> dict[str, Any]:
    """The report as JSON: what came in, what stays, every image that does not and why, and what to beware of."""
    images, kept = findings.images, set(findings.kept)
    remaining = [image for image in images if image.name in kept]
    lost = [*findings.drops, *findings.unreadable]
    report: dict[str, Any] = {
        "recipe": findings.recipe.model_dump(mode="json"),
        "n_images": len(images) + len(findings.unreadable),
        "n_kept": len(findings.kept),
        "n_dropped": len(lost),
        "n_skipped": len(findings.skipped),
        "kept": count_by_class((image.split, image.tumour_class) for image in remaining),
        "kept_planes": count_planes(remaining),
        **analyse(images),
        "planes": {
            "counts": count_planes(images),
            "sources": dict(Counter(image.plane_source or "unknown" for image in images).most_common()),
            "low_confidence": [image.name for image in images if is_unsure(image)],
            "found": dict(findings.planes) if findings.planes is not None else None,
        },
        "duplicates": summarise_copies(findings),
        "groups": summarise_groups(findings),
        "drop_reasons": dict(Counter(drop.reason for drop in lost).most_common()),
        "dropped": [asdict(drop) for drop in lost],
        "unreadable": [asdict(drop) for drop in findings.unreadable],
        "skipped": [asdict(drop) for drop in findings.skipped],
    }
    return report | {"warnings": write_warnings(findings, report)}


def write_table(findings: Findings) -> bytes:
    """A CSV table (UTF-8), one row for each file of the raw set: its measurements, its copies, and why it was dropped.

    `copy_group` numbers the groups of copies; it is empty for an image without one. `leaks_from` names the Training
    image whose scan a Testing image shows.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    drops = {drop.name: drop for drop in findings.drops}
    groups = number_copies(findings.copies)
    leaks = {leak.testing: leak for leak in findings.leaks}
    for image in findings.images:
        row = _measured_row(image) | {"copy_group": groups.get(image.name, "")}
        if leak := leaks.get(image.name):
            row |= {"leaks_from": leak.training, "leak_correlation": leak.correlation, "leak_mirror": leak.mirror}
        drop = drops.get(image.name)
        verdict = _dropped_row(drop) if drop else {"kept": "yes"}
        writer.writerow({column: _cell(value) for column, value in (row | verdict).items()})
    for drop in _unmeasured(findings):
        writer.writerow({column: _cell(value) for column, value in _dropped_row(drop).items()})
    return buffer.getvalue().encode()


def _unmeasured(findings: Findings) -> Sequence[Drop]:
    return [*findings.unreadable, *findings.skipped]


def _measured_row(image: Measurement) -> dict[str, Any]:
    values = {"blurry" if field == "is_blurry" else field: getattr(image, field) for field in _MEASURED}
    return {"name": image.name, "split": image.split, "class": image.tumour_class, **values}


def _dropped_row(drop: Drop) -> dict[str, Any]:
    return {"name": drop.name, "kept": "no", "reason": drop.reason, "detail": drop.detail}


def _cell(value: Any) -> Any:
    """The value, with a leading quote if a spreadsheet would run it as a formula (OWASP, CSV injection)."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return "" if value is None else value
