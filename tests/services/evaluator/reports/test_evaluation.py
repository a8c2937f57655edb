"""The report as table, page and picture."""

import csv
import io
from typing import Any

import numpy as np
from PIL import Image

from services.evaluator.reports.chart import draw_chart
from services.evaluator.reports.evaluation import feature_cautions, format_number, render_csv
from services.evaluator.reports.evaluation_page import render_html


def example_report(tumour_class: str | None = "glioma", n_metrics: int = 3) -> dict[str, Any]:
    def scored(value: float, half: float) -> dict[str, Any]:
        return {"value": value, "interval": {"low": value - half, "high": value + half, "method": "m"}}

    entries = [
        ("fid", "Fréchet inception distance (FID)", "lower", scored(76.1, 4), scored(48.3, 3), [299, 867]),
        ("kid", "Kernel inception distance (KID)", "lower", scored(0.0457, 0.006), scored(-0.0004, 0.001), [299, 867]),
        ("is", "Inception score (IS)", "higher", scored(2.307, 0.1), scored(2.783, 0.08), [867]),
    ]
    return {
        "synthetic": "set-1<b>",
        "real": "set-2",
        "class": tumour_class,
        "split": "Training",
        "n_synthetic": 600,
        "n_real": 867,
        "features": {"name": "inception", "sha256": "ab" * 32, "model": None, "n_features": 2048},
        "floor": {"what": "real Testing against real Training", "n": [299, 867]},
        "size_px": [256, 256],
        "seed": 0,
        "warnings": ["n is <small>"],
        "metrics": [
            {
                "metric": metric,
                "label": label,
                "better": better,
                "n_synthetic": 600,
                "n_real": 867,
                **value,
                "real": {**real, "what": "real Testing against real Training", "n": n},
            }
            for metric, label, better, value, real, n in entries
        ][:n_metrics],
    }


def test_the_table_has_every_digit_and_its_n() -> None:
    report = example_report()
    report["metrics"][1]["interval"] = None
    rows = list(csv.DictReader(io.StringIO(render_csv(report).decode())))
    assert [row["metric"] for row in rows] == ["fid", "kid", "is"]
    assert [float(row["value"]) for row in rows] == [76.1, 0.0457, 2.307]
    assert {(row["n_synthetic"], row["n_real"], row["features"]) for row in rows} == {("600", "867", "inception")}
    assert (rows[0]["low"], rows[1]["low"]) == ("72.1", "")


def test_the_page_needs_nothing_from_elsewhere_and_escapes_names() -> None:
    page = render_html(example_report(), b"png").decode()
    assert "http" not in page
    assert "data:image/png;base64,cG5n" in page
    assert "set-1&lt;b&gt;" in page
    assert "n is &lt;small&gt;" in page
    assert "600 / 867" in page


def test_the_page_says_what_the_floor_is() -> None:
    report = example_report()
    report["floor"] = {"what": "one half of the real Testing images against the other", "n": [150, 149]}
    page = render_html(report, b"").decode()
    reached = "what a perfect generator would reach at the floor's own n"
    assert f"{reached}: one half of the real Testing images against the other (n = 150 and 149)." in page
    assert "floor of each class" not in page
    report["by_class"] = [example_report()]
    assert "The floor of each class stands beside its scores." in render_html(report, b"").decode()
    report["floor"] = None
    assert "too few real images" in render_html(report, b"").decode()


def test_the_page_says_what_the_hash_is_a_hash_of() -> None:
    report = example_report()
    assert "weights\n<code>abab" in render_html(report, b"").decode()
    report["features"] |= {"name": "radiomics", "library": "some-library 1.0.0"}
    assert "library and settings (some-library 1.0.0)\n<code>abab" in render_html(report, b"").decode()


def test_a_missing_floor_leaves_a_dash() -> None:
    report = example_report(n_metrics=1)
    report["metrics"][0]["real"] = None
    assert "&ndash;" in render_html(report, b"").decode()
    assert render_csv(report).count(b"\n") == 2


def test_the_chart_is_a_picture_with_bars() -> None:
    for tumour_class, n_metrics in (("glioma", 3), (None, 1)):
        image = Image.open(io.BytesIO(draw_chart(example_report(tumour_class, n_metrics)))).convert("RGB")
        assert image.width > 600
        blue = (np.array(image) == (0x00, 0x72, 0xB2)).all(axis=2).mean()
        assert 0.02 < blue < 0.6


def test_numbers_are_short_and_honest() -> None:
    assert [format_number(value) for value in (76.1453, 0.045712, 0.00004571, 0.0, -0.0004, 1234567.0)] == [
        "76.15",
        "0.04571",
        "4.57e-05",
        "0",
        "-4.00e-04",
        "1.235e+06",
    ]


def test_cautions_of_the_feature_space() -> None:
    few = feature_cautions("inception", 2048, [600, 867], verified=True)
    assert few[0].code == "fewer_images_than_features"
    assert "600 images are not more than the 2048 features" in few[0].sentence
    assert len(feature_cautions("classifier", 64, [600, 867], verified=True)) == 1
    classes = {"glioma": [200, 300], "notumor": [600, 250], "pituitary": [300, 300]}
    (single, _) = feature_cautions("classifier", 256, [1100, 850], classes, verified=True)
    assert single.code == "fewer_images_than_features"
    assert "single classes (200 of glioma, 250 of notumor) are not more than the 256 features" in single.sentence
    (both, _) = feature_cautions("classifier", 1000, [1100, 850], classes, verified=True)
    assert "850 images, and in single classes as few as 200, are not more than the 1000 features" in both.sentence
    assert len(feature_cautions("classifier", 199, [1100, 850], classes, verified=True)) == 1
    radiomics = feature_cautions("radiomics", 77, [60, 867], verified=True)
    assert [caution.code for caution in radiomics] == ["fewer_images_than_features", "features_of_radiomics"]
    assert "UNVERIFIED" in feature_cautions("inception", 64, [600, 867], verified=False)[-1].sentence
