"""An audit's page, tables and pictures: what they hold, what they escape, and what is missing from them."""

import csv
import io
from html.parser import HTMLParser
from typing import Any

import numpy as np
from PIL import Image

from services.evaluator.reports.audit_chart import draw_chart
from services.evaluator.reports.audit_files import write_files
from services.evaluator.reports.audit_page import render_page
from services.evaluator.reports.audit_pictures import draw_spectra
from services.evaluator.reports.audit_table import render_copies, render_pairs, render_table
from services.evaluator.reports.embedding import pack_thumbnails
from tests.services.evaluator.reports.made_audit import EVIL, make_report, pair


class Page(HTMLParser):
    """The tags, the addresses and the text of a page."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(data.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href") and value]

    def handle_data(self, data: str) -> None:
        self.text += data


def read_csv(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode())))


def test_the_page_shows_findings_first_and_runs_nothing() -> None:
    page = Page(render_page(make_report(), f"Audit <b>{EVIL}</b>", {"chart.png": b"png"}))
    assert "script" not in page.tags
    assert "b" in page.tags  # severity marks, not the title's
    assert f"Audit <b>{EVIL}</b>" in page.text
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    order = [page.text.index(word) for word in ("Findings", "Problem", "Read this first", "Memorisation", "Usefulness")]
    assert order == sorted(order)
    for expected in (
        "71.0 %",
        "91.0 %",
        "(68.0 to 74.0)",
        "20.0 points",
        "Fewer than 20 images.",
        "AUC 0.990",
        "2 in groups of alike: 1",
        "50 % / 50 %",
        "35 % / 80 %",
        "97 %",
        "64 x 48 px",
        "mirrored",
    ):
        assert expected in page.text
    assert page.text.count(EVIL) >= 4  # title, finding, warning, copy


def test_a_page_of_one_check_has_no_other_sections() -> None:
    report = make_report()
    classes = {
        name: {key: found[key] for key in found if key.startswith("n_")} for name, found in report["classes"].items()
    }
    page = Page(render_page({**report, "classes": classes, "findings": [], "checks": ["usefulness"]}, "t", {}))
    assert "Usefulness" in page.text
    assert "None." in page.text
    for absent in ("Memorisation", "Shortcuts", "Diversity"):
        assert absent not in page.text


def test_tables_keep_all_digits_and_no_cell_is_a_formula() -> None:
    report = make_report()
    rows = read_csv(render_table(report))
    assert [row["row"] for row in rows] == [
        "finding",
        "finding",
        "cue",
        "detector",
        "cue",
        "detector",
        *["usefulness"] * 3,
    ]
    assert rows[0]["sentence"] == report["findings"][0]["sentence"]
    assert (rows[2]["synthetic_median"], rows[2]["effect_low"], rows[4]["baseline_median"]) == ("120.0", "-0.9", "")
    copies = read_csv(render_copies(report))
    assert [(row["class"], row["name"]) for row in copies] == [("glioma", f"'{EVIL}")]
    pairs = {"glioma": [pair("a,b\n.png", "c.png", 0.123456789)]}
    (row,) = read_csv(render_pairs(pairs))
    assert (row["name"], row["correlation"]) == ("a,b\n.png", "0.123456789")


def test_files_are_made_of_what_was_measured_only() -> None:
    report = make_report()
    rng = np.random.default_rng(0)
    images = {side: rng.integers(0, 256, (8, 48, 64), dtype=np.uint8) for side in ("synthetic", "reference")}
    points = {name: pack_thumbnails(images, 0) for name in report["classes"]}
    nearest = {"glioma": [pair("a", "b", 0.5)]}
    files = write_files(report, nearest, title="t", sheets={"glioma": b"sheet"}, points=points)
    tables = {"report.html", "table.csv", "copies.csv", "nearest.csv"}
    assert files.keys() == tables | {"chart.png", "nearest-glioma.png", "spectra.png", "embedding.png"}
    assert files["nearest-glioma.png"] == b"sheet"
    bare: dict[str, Any] = {**report, "classes": {}, "usefulness": None, "findings": []}
    assert write_files(bare, {}, title="t", sheets={}, points={}).keys() == {"report.html", "table.csv"}


def test_pictures_are_wide_enough_for_print_and_alike_for_the_same_report() -> None:
    report = make_report()
    for draw in (lambda: draw_chart(report), lambda: draw_spectra(report["classes"], "Training")):
        first, second = draw(), draw()
        assert first is not None
        assert first == second
        with Image.open(io.BytesIO(first)) as picture:
            assert picture.width >= 1400
            assert picture.info["dpi"][0] > 150
    assert draw_spectra({"glioma": {"n_synthetic": 1}}, "Training") is None
    assert draw_chart({**report, "classes": {}, "usefulness": None}) is None
