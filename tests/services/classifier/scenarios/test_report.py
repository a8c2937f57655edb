"""The scenario report's numbers, table and chart."""

import dataclasses
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
    phase = {"n_real": 100, "n_synthetic": n_synthetic, "updates": 50}
    return SeedResult(name, seed, confusion, 100, n_synthetic, [phase], 50, 1.5)


def tuned(result: SeedResult, n_synthetic: int, updates: int = 30) -> SeedResult:
    """The result with a second phase on 50 of its real images and this many synthetic ones."""
    second = {"n_real": 50, "n_synthetic": n_synthetic, "updates": updates}
    phases = [*result.phases, second]
    return dataclasses.replace(
        result, n_synthetic=result.n_synthetic + n_synthetic, phases=phases, updates=result.updates + updates
    )


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


@pytest.mark.parametrize("name", ["50% $x% y$", "$5 {vs $6", r"cost $\q$", "p#1 $ and # $"])
def test_a_name_is_drawn_as_it_is_and_not_as_a_formula(name: str) -> None:
    def draw(called: str) -> bytes:
        return draw_chart(summarise_compositions([result(called, 33, 30)]))

    assert draw(name) != draw(name.replace("$", ""))


def test_notes_state_the_standard_error_and_leaks() -> None:
    notes = scenario_notes(summarise_compositions(RESULTS), 40, 3)
    # sqrt(0.8 * 0.2 / 40) = 0.0632
    assert "0.063" in notes[0]
    assert notes[2] == "Every composition was trained for the same number of updates, 50."
    assert notes[3].startswith("3 test images are byte-identical")


def test_notes_say_when_more_images_meant_more_updates() -> None:
    longer = {"n_real": 100, "n_synthetic": 20, "updates": 60}
    mixed = dataclasses.replace(result("mixed", 33, 32, 20), phases=[longer], updates=60)
    notes = scenario_notes(summarise_compositions([result("real only", 33, 30), mixed]), 40, 0)
    assert "Epochs are fixed" in notes[2]
    assert not any("same number" in note for note in notes)


def test_fine_tuned_compositions_are_counted_by_phase_and_compared_to_their_control() -> None:
    fine_tuned, control = tuned(result("5 tuned", 33, 34), 80), tuned(result("5 control", 33, 33), 0)
    entries = summarise_compositions([result("Initial", 33, 30), fine_tuned, control])
    assert [entry["n_synthetic"] for entry in entries] == [0, 80, 0]
    assert entries[1]["phases"] == [
        {"n_real": 100, "n_synthetic": 0, "updates": 50},
        {"n_real": 50, "n_synthetic": 80, "updates": 30},
    ]
    _, seeds, updates, of_tuned, of_control = scenario_notes(entries, 40, 0)
    assert seeds.endswith(
        "not the chosen images, but for the real images that the second phase of a fine-tuned composition keeps."
    )
    assert scenario_notes(entries[:1], 40, 0)[1].endswith("not the chosen images.")
    assert updates == "All were trained for 50 updates; fine-tuned ones then went on, so theirs are more."
    assert "100 real and 0 synthetic images for 50 updates, then 50 real and 80 synthetic images for 30" in of_tuned
    assert "Compare it with 5 control, fine-tuned on real images only, not with the first." in of_tuned
    assert "It is the control" in of_control
    assert "longer training may explain" in scenario_notes(entries[:2], 40, 0)[3]
    assert "may explain" not in of_tuned
    shorter = summarise_compositions([result("Initial", 33, 30), fine_tuned, tuned(result("5 control", 33, 33), 0, 12)])
    of_tuned = scenario_notes(shorter, 40, 0)[3]
    assert "That was trained for 62 updates, this for 80, so the length of the training may explain part" in of_tuned


def test_the_chart_colours_a_composition_that_has_synthetic_images_in_any_phase() -> None:
    orange = (0xC4, 0x54, 0x1D)

    def n_orange(second: SeedResult) -> int:
        chart = Image.open(io.BytesIO(draw_chart(summarise_compositions([result("Initial", 33, 30), second]))))
        return int((np.array(chart.convert("RGB")) == orange).all(axis=-1).sum())

    # The legend has one orange dot in both.
    assert n_orange(tuned(result("5", 33, 34), 80)) > n_orange(tuned(result("5", 33, 34), 0))


def test_a_composition_named_like_a_formula_is_plain_text_in_the_csv() -> None:
    entries = summarise_compositions([result("real", 33, 30), result("=HYPERLINK(1)", 33, 26)])
    line = table_to_csv(scenario_table(entries)).decode().splitlines()[2]
    assert line.startswith("'=HYPERLINK(1),100,")
    assert ",-,-0.1000," in line


def test_the_page_needs_nothing_from_elsewhere_and_escapes_names() -> None:
    html = page("<b>mine</b>", (("a",), [["<script>"]]), b"png", ["1 < 2"]).decode()
    assert "<script>" not in html
    assert "&lt;b&gt;mine" in html
    assert "http" not in html
    assert "Not a medical device" in html
