"""The files of an audit report, by name."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.evaluator.reports.audit_chart import draw_chart
from services.evaluator.reports.audit_page import render_page
from services.evaluator.reports.audit_pictures import draw_spectra
from services.evaluator.reports.audit_table import render_copies, render_pairs, render_table
from services.evaluator.reports.embedding import PER_GROUP, THUMBNAIL_PX, PointGroup, draw_embedding, unpack_thumbnails
from services.evaluator.reports.style import label_sides


def write_files(
    report: Mapping[str, Any],
    nearest: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    title: str,
    sheets: Mapping[str, bytes],
    points: Mapping[str, bytes],
) -> dict[str, bytes]:
    """Page, tables and pictures; what was not measured has no file.

    Args:
        report: the report's JSON.
        nearest: by class, the nearest real image of every synthetic one.
        title: heading of the page.
        sheets: by class, the picture of its nearest pairs.
        points: by class, thumbnails as `embedding.pack_thumbnails` made them.
    """
    pictures = {
        "chart.png": draw_chart(report),
        **{f"nearest-{name}.png": sheet for name, sheet in sheets.items()},
        "spectra.png": draw_spectra(report["classes"], report["split"]),
        "embedding.png": draw_map(points, report["split"], report["seed"]) if points else None,
    }
    drawn = {name: data for name, data in pictures.items() if data is not None}
    files = {"report.html": render_page(report, title, drawn), "table.csv": render_table(report), **drawn}
    if nearest:
        files |= {"copies.csv": render_copies(report), "nearest.csv": render_pairs(nearest)}
    return files


def draw_map(points: Mapping[str, bytes], split: str, seed: int) -> bytes:
    """The picture of all images as points, one panel per class."""
    labels = label_sides(split)
    groups = [
        PointGroup(side, labels[side], name, thumbnails_u8.reshape(len(thumbnails_u8), -1))
        for name, data in points.items()
        for side, thumbnails_u8 in unpack_thumbnails(data).items()
    ]
    what = f"gray levels at {THUMBNAIL_PX} x {THUMBNAIL_PX} px of up to {PER_GROUP} images of each kind and class"
    return draw_embedding(groups, seed, what)
