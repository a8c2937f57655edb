"""Radiomics: 77 measured properties of gray levels and texture, in place of what a network sees.

The features of the Fréchet Radiomics Distance (FRD): Konz, Osuala et al. 2024 (arXiv:2412.01496), computed by
flash-radiomics, whose names and formulas are PyRadiomics' (van Griethuysen et al. 2017,
doi:10.1158/0008-5472.CAN-17-0339).

Like FRD: the classes first order, GLCM, GLRLM, GLSZM and NGTDM with the same 22 GLCM features; no shape; bins of
width 5; the mask is the whole image, background too; each feature scaled by mean and standard deviation of the real
images, and those that are constant there left out (`metrics.standardisation`); the Fréchet distance of the rest.

Unlike FRD: the image as it is, without wavelet and Laplacian-of-Gaussian filters (FRD has about 460 features with
them, more than many sets have images); gray levels 0..255 as they are, neither normalised, which would hide a change
of brightness or contrast, nor shifted by 300; every pixel, where FRD halves the resolution; all images, where FRD cuts
both sides to one number; the distance itself, of which published FRD values are the logarithm. Values are therefore
not comparable with published ones.
"""

import hashlib
import json
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.evaluator.features.extraction import GrayImages, ImageFeatures
from shared.errors import Conflict

COMMAND: Final = "make setup EXTRAS=radiomics"
"""What installs the library."""

BIN_WIDTH: Final = 5
"""Gray levels in one bin of the texture matrices: FRD's. 8 bit fill up to 52 bins; FRD wants 30 to 130."""

SETTINGS: Final[dict[str, Any]] = {"binWidth": BIN_WIDTH, "distances": [1]}
"""Settings of the library, PyRadiomics' names: neighbours at one pixel, in all four directions."""

_LIBRARY = "flash-radiomics"
_IMPORTED = ("flash_radiomics", "pykwalify", "pywt", "SimpleITK")
"""What must be importable; the library's wheel does not declare the packages that it imports."""

_CLASSES: Final[dict[str, tuple[str, str]]] = {
    "firstorder": (
        "RadiomicsFirstOrder",
        "10Percentile 90Percentile Energy Entropy InterquartileRange Kurtosis Maximum Mean MeanAbsoluteDeviation "
        "Median Minimum Range RobustMeanAbsoluteDeviation RootMeanSquared Skewness TotalEnergy Uniformity Variance",
    ),
    "glcm": (
        "RadiomicsGLCM",
        "Autocorrelation ClusterProminence ClusterShade ClusterTendency Contrast Correlation DifferenceAverage "
        "DifferenceEntropy DifferenceVariance Id Idm Idmn Idn Imc1 Imc2 InverseVariance JointAverage JointEnergy "
        "JointEntropy MaximumProbability SumEntropy SumSquares",
    ),
    "glrlm": (
        "RadiomicsGLRLM",
        "GrayLevelNonUniformity GrayLevelNonUniformityNormalized GrayLevelVariance HighGrayLevelRunEmphasis "
        "LongRunEmphasis LongRunHighGrayLevelEmphasis LongRunLowGrayLevelEmphasis LowGrayLevelRunEmphasis RunEntropy "
        "RunLengthNonUniformity RunLengthNonUniformityNormalized RunPercentage RunVariance ShortRunEmphasis "
        "ShortRunHighGrayLevelEmphasis ShortRunLowGrayLevelEmphasis",
    ),
    "glszm": (
        "RadiomicsGLSZM",
        "GrayLevelNonUniformity GrayLevelNonUniformityNormalized GrayLevelVariance HighGrayLevelZoneEmphasis "
        "LargeAreaEmphasis LargeAreaHighGrayLevelEmphasis LargeAreaLowGrayLevelEmphasis LowGrayLevelZoneEmphasis "
        "SizeZoneNonUniformity SizeZoneNonUniformityNormalized SmallAreaEmphasis SmallAreaHighGrayLevelEmphasis "
        "SmallAreaLowGrayLevelEmphasis ZoneEntropy ZonePercentage ZoneVariance",
    ),
    "ngtdm": ("RadiomicsNGTDM", "Busyness Coarseness Complexity Contrast Strength"),
}
"""By PyRadiomics' name of the class: the library's class, and the features taken."""

FEATURE_NAMES: Final = tuple(f"{group}_{name}" for group, (_, names) in _CLASSES.items() for name in names.split())
"""The 77 features in the order of the columns, for example "glcm_Contrast"."""


class RadiomicsNotInstalled(Conflict):
    """The library of the radiomics features is not there."""


def require_radiomics() -> None:
    """Refuse before any work where the library is missing.

    Raises:
        RadiomicsNotInstalled: names the command that installs it.
    """
    missing = [name for name in _IMPORTED if find_spec(name) is None]
    if missing:
        raise RadiomicsNotInstalled(
            f"features=radiomics needs {_LIBRARY}, which is not installed; run `{COMMAND}` and start the platform "
            "again (container: build the image `evaluator` with `--build-arg EXTRAS=radiomics`).",
            missing=missing,
            command=COMMAND,
        )


class RadiomicsExtractor:
    """Radiomics features of whole gray images; no class probabilities.

    `sha256` is the hash of the library's version, its settings and the names of the features: what else decides the
    numbers, where other extractors have weights.

    Raises:
        RadiomicsNotInstalled: the library is missing.
    """

    name = "radiomics"
    version = 1
    batch_size = 16

    def __init__(self) -> None:
        require_radiomics()
        import flash_radiomics
        from flash_radiomics.imageoperations import binImage

        self.made_with = f"{_LIBRARY} {version(_LIBRARY)}"
        identity = json.dumps([self.made_with, SETTINGS, FEATURE_NAMES], sort_keys=True)
        self.sha256 = hashlib.sha256(identity.encode()).hexdigest()
        self._classes = {group: getattr(flash_radiomics, name) for group, (name, _) in _CLASSES.items()}
        self._bin_image = binImage

    def extract_batch(self, images_u8: GrayImages) -> ImageFeatures:
        """Features (n, 77), as `FEATURE_NAMES` lists them, of gray images (n, h, w) uint8; probabilities (n, 0)."""
        rows = [self._measure(image_u8) for image_u8 in images_u8]
        return ImageFeatures(np.array(rows, dtype=np.float32), np.empty((len(rows), 0)))

    def _measure(self, image_u8: NDArray[np.uint8]) -> list[float]:
        """The features of one gray image (h, w) uint8."""
        mask = np.ones(image_u8.shape, dtype=np.uint8)
        levels = image_u8.astype(np.float32)
        # Each class would bin the image again, which takes as long as its features; same bins, half the time.
        binned, _ = self._bin_image(levels.astype(np.float64), mask == 1, **SETTINGS)
        found: dict[str, float] = {}
        for group, (_, names) in _CLASSES.items():
            options = {**SETTINGS, "backend": "cpu", "num_threads": 1, "discretized": binned, "ng": int(binned.max())}
            measured = self._classes[group](levels, mask, **options)
            for name in names.split():
                measured.enableFeatureByName(name)
            found |= {f"{group}_{name}": value for name, value in measured.execute().items()}
        return [found[name] for name in FEATURE_NAMES]
