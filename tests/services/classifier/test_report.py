"""A classifier's test report."""

import io

import numpy as np
import pytest
from PIL import Image

from services.classifier.metrics import summarise
from services.classifier.report import draw_confusion, metrics_table, table_to_csv
from shared.tumour import CLASS_ORDER

CONFUSION = np.array([[9, 1, 0, 0], [2, 8, 0, 0], [0, 0, 10, 0], [0, 0, 1, 9]], np.int64)


def test_the_table_has_every_class_both_averages_and_the_accuracy() -> None:
    lines = table_to_csv(metrics_table(summarise(CONFUSION))).decode().splitlines()
    assert lines[0] == "class,precision,recall,f1,images"
    assert lines[1] == "glioma,0.8182,0.9000,0.8571,10"
    assert lines[-1] == "accuracy,,,0.9000,40"
    assert [line.split(",")[0] for line in lines[1:]] == [*CLASS_ORDER, "macro average", "weighted average", "accuracy"]


@pytest.mark.parametrize("cell", ["=1+1", "+1+cmd", "-2*3", "@sum", "\tx", "\rx"])
def test_a_cell_that_a_spreadsheet_would_run_gets_a_quote(cell: str) -> None:
    row = table_to_csv((("a", "b"), [[cell, "1"]])).decode().removeprefix("a,b\n")
    assert row.strip('"').startswith("'" + cell)


@pytest.mark.parametrize("cell", ["+0.0750", "-0.1", "-", "-3", "", "a=b", "real + 64 synthetic"])
def test_numbers_and_plain_texts_stay_as_they_are(cell: str) -> None:
    assert table_to_csv((("a", "b"), [[cell, "1"]])).decode() == f"a,b\n{cell},1\n"


def test_the_confusion_matrix_is_drawn() -> None:
    drawn = Image.open(io.BytesIO(draw_confusion(CONFUSION.tolist(), [str(name) for name in CLASS_ORDER])))
    assert drawn.format == "PNG"
    assert drawn.size == (1080, 960)
