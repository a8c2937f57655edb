"""The tables of a report: what cannot be measured of one class does not end the others."""

import numpy as np
from numpy.typing import NDArray

from services.evaluator.features.extraction import ImageFeatures
from services.evaluator.metrics.assessment import Metric
from services.evaluator.metrics.scopes import Sides
from services.evaluator.metrics.selection import Images, select_images
from services.evaluator.metrics.tables import Scoring
from shared.progress import NoProgress

NAMES = ("a", "b", "c")


def images(tumour_class: str, n: int) -> Images:
    return [{"name": f"{tumour_class}/{row}", "class": tumour_class, "split": None} for row in range(n)]


def features(values: NDArray[np.float64]) -> ImageFeatures:
    return ImageFeatures(values.astype(np.float32), np.empty((len(values), 0)))


def test_a_class_of_one_real_image_again_and_again_is_left_out_and_the_others_are_not() -> None:
    rng = np.random.default_rng(0)
    both = [*images("glioma", 12), *images("notumor", 12)]
    selection = select_images(both, both, tumour_class=None, split="all")
    varied, alike = rng.normal(size=(12, 3)), np.ones((12, 3))
    sides = Sides(features(rng.normal(size=(24, 3))), features(np.concatenate([varied, alike])), None)
    scoring = Scoring("all", False, [Metric.FID], "radiomics", 0, NoProgress(), NAMES)
    table, plans, cautions = scoring.measure_all(selection, sides, None)
    assert [entry["class"] for entry in table["by_class"]] == ["glioma"]
    assert len(plans) == 2
    (said,) = [caution.sentence for caution in cautions if caution.code == "class_left_out"]
    assert said == "The 12 real images of notumor are alike in every feature: no scores of its own."
    alone = select_images(both[:12], both[:12], tumour_class="glioma", split="all")
    expected, _, _ = scoring.measure_all(alone, sides.of_class(selection, "glioma"), None)
    assert table["by_class"][0]["metrics"] == expected["metrics"]
