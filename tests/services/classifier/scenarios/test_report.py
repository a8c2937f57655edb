"""The scenario report's numbers, table and chart."""

import io

import numpy as np
import pytest
from PIL import Image

from services.classifier.report import page, table_to_csv
from services.classifier.scenarios.report import (
    SeedResult,
    draw_chart,
    scenario_notes,
    scenario_table,
    summarise_compositions,
)


def result(name: str, seed: int, right: int, n_synthetic: int = 0) -> SeedResult:
    """A classifier that calls `right` of 40 images correctly and the others pituitary or glioma."""
    confusion = np.zeros((4, 4), np.int64)
    for k in range(40):
        confusion[k % 4, k % 4 if k < right else (k + 1) % 4] += 1
    return SeedResult(name, seed, confusion, 100, n_synthetic, 50, 1.5)


RESULTS = [
    result("real only", 33, 30), result("real only", 66, 34),
    result("mixed", 33, 32, 20), result("mixed", 66, 38, 20),
]  # fmt: skip


def test_mean_sd_and_difference_are_over_seeds_and_within_seeds() -> None:
    first, second = summarise_compositions(RESULTS)
    assert first["accuracy"]["mean"] == pytest.approx(32 / 40)
    assert first["accuracy"]["sd"] == pytest.approx(np.sqrt(2 * (2 / 40) ** 2))
    assert first["difference_to_first"] == {"mean": 0.0, "sd": 0.0}
    assert second["difference_to_first"]["mean"] == pytest.approx(3 / 40)
    # Differences 2/40 and 4/40.
    assert second["difference_to_first"]["sd"] == pytest.approx(np.sqrt(2 * (1 / 40) ** 2))
    assert second["accuracy"]["per_seed"] == {"33": 32 / 40, "66": 38 / 40}
    assert second["n_synthetic"] == 20
    low, high = second["accuracy"]["test_interval_95"]
    assert low < 35 / 40 < high


def test_one_seed_has_no_standard_deviation() -> None:
    (only,) = summarise_compositions([result("a", 1, 20)])
    assert only["accuracy"]["sd"] is None
    assert scenario_table([only])[1][0][6] == "-"


def test_the_table_has_a_row_per_composition_and_becomes_csv() -> None:
    table = scenario_table(summarise_compositions(RESULTS))
    assert [row[0] for row in table[1]] == ["real only", "mixed"]
    lines = table_to_csv(table).decode().splitlines()
    assert lines[0].startswith("composition,real,synthetic,updates,seeds,accuracy,sd,difference,F1 glioma")
    assert lines[2].startswith("mixed,100,20,50,2,0.8750,")
    assert ",+0.0750," in lines[2]


def test_the_chart_is_an_image_fit_for_print() -> None:
    chart = Image.open(io.BytesIO(draw_chart(summarise_compositions(RESULTS))))
    assert chart.format == "PNG"
    assert chart.width == 1890  # 6.3 inches at 300 dots per inch


def test_notes_state_the_standard_error_and_leaks() -> None:
    notes = scenario_notes(summarise_compositions(RESULTS), 40, "equal", 3)
    # sqrt(0.8 * 0.2 / 40) = 0.0632
    assert "0.063" in notes[0]
    assert "same number of updates" in notes[2]
    assert notes[3].startswith("3 test images are byte-identical")
    assert "Epochs are fixed" in scenario_notes(summarise_compositions(RESULTS), 40, "epochs", 0)[2]


def test_the_page_needs_nothing_from_elsewhere_and_escapes_names() -> None:
    html = page("<b>mine</b>", (("a",), [["<script>"]]), b"png", ["1 < 2"]).decode()
    assert "<script>" not in html
    assert "&lt;b&gt;mine" in html
    assert "http" not in html
    assert "Not a medical device" in html
