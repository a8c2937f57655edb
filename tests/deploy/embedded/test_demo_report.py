import numpy as np
import pytest

from deploy.embedded.demo_report import advice, draw_contact_sheet, draw_loss_curve, running_median, write_summary

RESULTS = {
    "losses": [0.5, 0.3, 0.2],
    "evaluation": {"metrics": [{"metric": "fid", "value": 12.3}], "features": {"name": "classifier"}},
    "classified": [
        {"truth": "glioma", "answer": "glioma", "probability": 0.9},
        {"truth": "glioma", "answer": "notumor", "probability": 0.6},
    ],
}


def test_contact_sheet_shows_the_pixels_of_both_rows_unscaled() -> None:
    real = [np.full((256, 256), level, np.uint8) for level in (10, 20)]
    synthetic = [np.full((64, 64), level, np.uint8) for level in (30, 40, 50)]
    figure = draw_contact_sheet(real, synthetic)
    shown = [int(axes.images[0].get_array()[0, 0]) for axes in figure.axes if axes.images]
    assert shown == [10, 20, 30, 40, 50]
    assert [axes.images[0].get_clim() for axes in figure.axes if axes.images] == [(0, 255)] * 5
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title for title in titles if title] == ["real, 256 px", "generated, 64 px"]


def test_running_median_ignores_a_spike_and_keeps_a_constant() -> None:
    assert running_median([1, 1, 9, 1, 1], 3).tolist() == [1, 1, 1, 1, 1]
    assert running_median([2.0] * 20, 9).tolist() == [2.0] * 20


def test_loss_curve_has_every_epoch() -> None:
    axes = draw_loss_curve([3.0, 2.0, 1.0]).axes[0]
    assert axes.lines[0].get_xdata().tolist() == [1, 2, 3]


def test_summary_has_a_row_for_each_stage_and_names_wrong_answers() -> None:
    text = write_summary([("Upload", "500 images", 1.5), ("Train", "loss", 100.0)], RESULTS, "phantoms")
    assert "| Upload" in text
    assert "101.5" in text
    assert "glioma 90%, notumor 60% (truth: glioma)" in text


def test_advice_is_four_sentences_that_name_the_feature_space() -> None:
    said = advice(RESULTS)
    assert len(said) == 4
    assert "`classifier`" in said[2]
    assert "12.3" in said[2]


@pytest.mark.parametrize("n_real", [0, 3])
def test_contact_sheet_of_unequal_rows(n_real: int) -> None:
    rows = [np.zeros((8, 8), np.uint8)] * n_real
    assert len(draw_contact_sheet(rows, [np.zeros((8, 8), np.uint8)]).axes) == 2 * max(n_real, 1)
