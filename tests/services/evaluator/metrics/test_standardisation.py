"""Features of any unit on the scale of the real images: invariances, constant features, and what is no number."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from services.evaluator.features.extraction import ImageFeatures
from services.evaluator.metrics.frechet import frechet_distance
from services.evaluator.metrics.samples import FeaturesNotFinite
from services.evaluator.metrics.scopes import Sides
from services.evaluator.metrics.selection import Selection
from services.evaluator.metrics.standardisation import (
    NoFeatureVaries,
    left_out_cautions,
    require_finite,
    standardise_sides,
)

NAMES = ("a", "b", "c", "d")


def images(features: NDArray[np.float64]) -> ImageFeatures:
    return ImageFeatures(features.astype(np.float32), np.empty((len(features), 0)))


def sides(scale: float = 1.0, shift: float = 0.0) -> Sides:
    """Three samples of four correlated features; feature c multiplied and shifted on all of them."""
    mixing = np.array([[2, 1, 0, 0], [0, 1, 0, 3], [0, 0, 1, 1], [0, 0, 0, 1]])
    made = []
    for seed, n, offset in ((1, 40, 0.5), (2, 50, 0.0), (3, 30, 0.1)):
        x = np.random.default_rng(seed).normal(size=(n, 4)) @ mixing + offset
        x[:, 2] = scale * x[:, 2] + shift
        made.append(images(x))
    return Sides(*made)


def distance(some: Sides) -> float:
    scaled, _ = standardise_sides(some, NAMES)
    return frechet_distance(scaled.synthetic.features, scaled.real.features)


def test_the_real_images_have_mean_zero_and_deviation_one() -> None:
    scaled, left_out = standardise_sides(sides(scale=1e6, shift=3e6), NAMES)
    assert left_out == []
    assert scaled.real.features.mean(axis=0) == pytest.approx(0, abs=1e-5)
    assert scaled.real.features.std(axis=0) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(("scale", "shift"), [(1000.0, 0.0), (1e-6, 0.0), (-3.0, 0.0), (1.0, 50.0)])
def test_units_change_nothing(scale: float, shift: float) -> None:
    # Features are float32: a shift by 50 deviations costs them two digits of seven.
    assert distance(sides(scale, shift)) == pytest.approx(distance(sides()), rel=1e-4)
    raw, of_other_unit = (frechet_distance(x.synthetic.features, x.real.features) for x in (sides(), sides(1000.0)))
    assert of_other_unit > 1000 * raw


def test_a_set_lies_at_zero_from_itself() -> None:
    some = sides()
    assert distance(Sides(some.real, some.real, None)) == pytest.approx(0, abs=1e-5)


def test_both_sides_and_the_floor_get_the_scale_of_the_real_images() -> None:
    some = sides()
    for first, second in ((some.synthetic, some.other_real), (some.other_real, some.synthetic)):
        scaled, _ = standardise_sides(Sides(first, some.real, second), NAMES)
        alone, _ = standardise_sides(Sides(second, some.real, None), NAMES)
        assert np.array_equal(scaled.other_real.features, alone.synthetic.features)


def test_the_order_of_the_images_does_not_matter() -> None:
    some = sides()
    rng = np.random.default_rng(0)
    shuffled = Sides(*(images(rng.permutation(x.features)) for x in (some.synthetic, some.real, some.other_real)))
    assert distance(shuffled) == pytest.approx(distance(some), rel=1e-4)


@pytest.mark.parametrize("level", [0.0, 7.0, 1e9])
def test_a_feature_constant_among_the_real_images_is_left_out(level: float) -> None:
    some = sides()
    some.real.features[:, 1] = level
    some.real.features[3, 1] += np.float32(3e-16 if level == 0 else level * 2e-7)  # rounding is no variation
    assert np.ptp(some.real.features[:, 1]) > 0
    scaled, left_out = standardise_sides(some, NAMES)
    assert left_out == ["b"]
    assert [x.features.shape[1] for x in (scaled.synthetic, scaled.real, scaled.other_real)] == [3, 3, 3]
    without = Sides(*(images(np.delete(x.features, 1, axis=1)) for x in (some.synthetic, some.real)), None)
    expected = standardise_sides(without, ("a", "c", "d"))[0]
    assert np.array_equal(scaled.synthetic.features, expected.synthetic.features)


def test_real_images_that_are_all_alike_are_refused() -> None:
    some = sides()
    alike = images(np.repeat(some.real.features[:1], 5, axis=0))
    with pytest.raises(NoFeatureVaries, match="5 real images"):
        standardise_sides(replace(some, real=alike), NAMES)


@pytest.mark.parametrize("side", ["synthetic", "real", "other_real"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_image_and_feature_that_are_no_numbers_are_named(side: str, value: float) -> None:
    some = sides()
    lists = {
        name: [{"name": f"{name}/{row}.png"} for row in range(len(getattr(some, name).features))]
        for name in ("synthetic", "real", "other_real")
    }
    selection = Selection(None, lists["synthetic"], lists["real"], lists["other_real"], [])
    require_finite(selection, some, NAMES)
    getattr(some, side).features[6:8, 2] = value
    with pytest.raises(FeaturesNotFinite, match=rf"feature c of the image '{side}/6.png'.*2 image\(s\)"):
        require_finite(selection, some, NAMES)


def test_the_features_left_out_are_named_or_counted() -> None:
    assert left_out_cautions({"all images": []}) == []
    (caution,) = left_out_cautions({"all images": list("abcdefg"), "glioma": ["a"], "notumor": []})
    assert caution.code == "constant_features"
    assert "a, b, c, d, e and 2 more (all images); a (glioma)" in caution.sentence
