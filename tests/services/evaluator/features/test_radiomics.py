"""Radiomics features: the definitions of their names, invariances, and the refusal where the library is missing."""

import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from services.evaluator.features.extraction import extract_features
from services.evaluator.features.radiomics import (
    BIN_WIDTH,
    COMMAND,
    FEATURE_NAMES,
    RadiomicsExtractor,
    RadiomicsNotInstalled,
    require_radiomics,
)
from shared.progress import NoProgress

DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))
Gray = NDArray[np.uint8]


@pytest.fixture(scope="module")
def extractor() -> RadiomicsExtractor:
    pytest.importorskip("flash_radiomics", reason="make setup EXTRAS=radiomics")
    return RadiomicsExtractor()


def texture(seed: int, height: int = 24, width: int = 32) -> Gray:
    """A smooth gray image of few bins, with zones and runs of many lengths."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), 1.5)
    return (40 + 150 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)


def measure(extractor: RadiomicsExtractor, image_u8: Gray) -> dict[str, float]:
    values = extractor.extract_batch(image_u8[None]).features[0].astype(float).tolist()
    return dict(zip(FEATURE_NAMES, values, strict=True))


def bins_of(image_u8: Gray) -> NDArray[np.int64]:
    """1 is the bin of the image's minimum; bins begin at multiples of their width."""
    whole = image_u8.astype(np.int64) // BIN_WIDTH
    return whole - whole.min() + 1


def neighbours(bins: NDArray[np.int64], dy: int, dx: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of pixels that lie (dy, dx) apart, dy >= 0."""
    height, width = bins.shape
    here = bins[: height - dy, max(0, -dx) : width - max(0, dx)]
    there = bins[dy:, max(0, dx) : width - max(0, -dx)]
    return here, there


def count_runs(bins: NDArray[np.int64], dy: int, dx: int) -> int:
    """Pixels that do not continue the run of the pixel before them."""
    here, there = neighbours(bins, dy, dx)
    return int(bins.size - np.count_nonzero(here == there))


def test_seventy_seven_features_named_once_and_no_probabilities(extractor: RadiomicsExtractor) -> None:
    found = extractor.extract_batch(np.stack([texture(0), texture(1)]))
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES) == 77
    assert found.features.shape == (2, 77)
    assert found.features.dtype == np.float32
    assert found.probabilities.shape == (2, 0)
    assert np.isfinite(found.features).all()


def test_first_order_features_are_numpys(extractor: RadiomicsExtractor) -> None:
    image = texture(2)
    found, x = measure(extractor, image), image.astype(np.float64)
    p = np.bincount(bins_of(image).ravel())[1:] / image.size
    p = p[p > 0]
    expected = {
        "Mean": x.mean(), "Variance": x.var(), "Minimum": x.min(), "Maximum": x.max(), "Range": np.ptp(x),
        "Median": np.median(x), "Energy": (x**2).sum(), "RootMeanSquared": np.sqrt((x**2).mean()),
        "10Percentile": np.percentile(x, 10), "90Percentile": np.percentile(x, 90),
        "InterquartileRange": np.percentile(x, 75) - np.percentile(x, 25),
        "MeanAbsoluteDeviation": np.abs(x - x.mean()).mean(), "Skewness": ((x - x.mean()) ** 3).mean() / x.std() ** 3,
        "Entropy": -(p * np.log2(p)).sum(), "Uniformity": (p**2).sum(),
    }  # fmt: skip
    assert {name: found[f"firstorder_{name}"] for name in expected} == pytest.approx(expected, rel=1e-5)


def test_texture_features_follow_their_definitions(extractor: RadiomicsExtractor) -> None:
    image = texture(3)
    found, bins = measure(extractor, image), bins_of(image)
    pairs = [neighbours(bins, dy, dx) for dy, dx in DIRECTIONS]
    # The mean over four symmetric matrices: a pair counts in both orders, which changes no |i - j|.
    contrast = np.mean([((a - b) ** 2).mean() for a, b in pairs])
    difference = np.mean([np.abs(a - b).mean() for a, b in pairs])
    assert found["glcm_Contrast"] == pytest.approx(contrast, rel=1e-5)
    assert found["glcm_DifferenceAverage"] == pytest.approx(difference, rel=1e-5)
    runs = np.mean([count_runs(bins, dy, dx) for dy, dx in DIRECTIONS])
    assert found["glrlm_RunPercentage"] == pytest.approx(runs / bins.size, rel=1e-5)
    labelled = [ndimage.label(bins == level, np.ones((3, 3)))[0] for level in np.unique(bins)]
    areas = np.concatenate([np.bincount(zones.ravel())[1:] for zones in labelled])
    assert found["glszm_ZonePercentage"] == pytest.approx(len(areas) / bins.size, rel=1e-5)
    assert found["glszm_LargeAreaEmphasis"] == pytest.approx((areas.astype(float) ** 2).mean(), rel=1e-5)


def test_a_tone_differs_from_the_mean_of_its_neighbours(extractor: RadiomicsExtractor) -> None:
    image = texture(4)
    bins, ring = bins_of(image).astype(float), np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1.0]])
    sums, counts = (ndimage.convolve(x, ring, mode="constant") for x in (bins, np.ones_like(bins)))
    differences = np.abs(bins - sums / counts)
    levels = np.unique(bins)
    # Amadasun and King 1989 (doi:10.1109/21.44046): 1 / sum_i p_i s_i.
    coarseness = 1 / sum((bins == level).mean() * differences[bins == level].sum() for level in levels)
    assert measure(extractor, image)["ngtdm_Coarseness"] == pytest.approx(coarseness, rel=1e-5)


def test_turning_and_mirroring_change_nothing(extractor: RadiomicsExtractor) -> None:
    image = texture(5)
    expected = measure(extractor, image)
    for other in (image[::-1], image[:, ::-1], np.rot90(image), image.T):
        assert measure(extractor, np.ascontiguousarray(other)) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_a_brighter_image_has_the_same_texture(extractor: RadiomicsExtractor) -> None:
    image = texture(6)
    before, after = measure(extractor, image), measure(extractor, image + np.uint8(4 * BIN_WIDTH))
    for name in FEATURE_NAMES:
        if not name.startswith("firstorder"):
            assert after[name] == pytest.approx(before[name], rel=1e-5), name
    assert after["firstorder_Mean"] == pytest.approx(before["firstorder_Mean"] + 4 * BIN_WIDTH, rel=1e-5)


def test_features_depend_on_the_image_alone(extractor: RadiomicsExtractor) -> None:
    images = np.stack([texture(seed) for seed in range(extractor.batch_size + 3)])
    together = extract_features(extractor, images, progress=NoProgress(), done_before=0, total=len(images))
    backwards = extract_features(extractor, images[::-1], progress=NoProgress(), done_before=0, total=len(images))
    assert np.array_equal(together.features, backwards.features[::-1])
    assert np.array_equal(extractor.extract_batch(images[4:5]).features[0], together.features[4])


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_constant_image_has_features(extractor: RadiomicsExtractor, level: int) -> None:
    found = measure(extractor, np.full((8, 8), level, dtype=np.uint8))
    assert np.isfinite(list(found.values())).all()
    assert found["firstorder_Mean"] == level
    assert found["glcm_Contrast"] == 0


def test_what_decides_the_numbers_is_in_the_hash(
    extractor: RadiomicsExtractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert RadiomicsExtractor().sha256 == extractor.sha256
    assert len(extractor.sha256) == 64
    monkeypatch.setattr("services.evaluator.features.radiomics.SETTINGS", {"binWidth": 6, "distances": [1]})
    assert RadiomicsExtractor().sha256 != extractor.sha256


@pytest.mark.parametrize("package", ["flash_radiomics", "pykwalify"])
def test_without_the_library_the_command_is_named(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(RadiomicsNotInstalled, match=COMMAND) as refused:
        require_radiomics()
    assert (refused.value.status, refused.value.code) == (409, "radiomics_not_installed")
    with pytest.raises(RadiomicsNotInstalled):
        RadiomicsExtractor()
