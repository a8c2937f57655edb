"""Features of different units on one scale: each less the real images' mean, in their standard deviations.

Radiomics features span ten orders of magnitude, and a distance of the raw ones would be that of the largest. The
Fréchet Radiomics Distance scales both sides by the reference alone: Konz, Osuala et al. 2024 (arXiv:2412.01496), eq. 3.
The scale is thus the same for synthetic images, real ones and the floor, and multiplying a feature changes nothing.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.evaluator.features.extraction import ImageFeatures
from services.evaluator.metrics.samples import FeaturesNotFinite
from services.evaluator.metrics.scopes import Sides
from services.evaluator.metrics.selection import Caution, Images, Selection
from shared.errors import InvalidInput

_RESOLUTION: Final = 8 * float(np.finfo(np.float32).eps)
"""Features are kept as float32: one that varies by less than this part of its size does not vary."""

_ROUNDING: Final = 1e-12
"""Entropies that are 0 come as 3e-16: what varies by less than this is rounding, in any feature's unit."""

_NAMED: Final = 5
"""Features named in a sentence before the rest is only counted."""


class NoFeatureVaries(InvalidInput):
    """The real images are all alike in every feature, so that no scale is defined."""


def require_finite(selection: Selection, sides: Sides, feature_names: Sequence[str]) -> None:
    """Refuse features that are no numbers, by the name of the image and of the feature.

    Raises:
        FeaturesNotFinite: names the first such image and feature.
    """
    groups = (
        (selection.synthetic, sides.synthetic),
        (selection.real, sides.real),
        (selection.other_real, sides.other_real),
    )
    for images, found in groups:
        if found is not None:
            _require_finite(images, found.features, feature_names)


def standardise_sides(sides: Sides, feature_names: Sequence[str]) -> tuple[Sides, list[str]]:
    """All features on the scale of the real ones, and the names of those that are constant there and left out.

    Args:
        sides: features of all three lists, finite, of any unit.
        feature_names: of the columns.

    Returns:
        features without unit, mean 0 and standard deviation 1 over `sides.real`; probabilities as they were.

    Raises:
        NoFeatureVaries: no feature varies among the real images.
    """
    real = sides.real.features.astype(np.float64)
    varies = np.ptp(real, axis=0) > np.maximum(_RESOLUTION * np.abs(real).max(axis=0), _ROUNDING)
    if not varies.any():
        raise NoFeatureVaries(
            f"The {len(real)} real images are alike in all {real.shape[1]} features, so that there is no scale to "
            "compare on. Compare with a set of different images."
        )
    mean, deviation = real[:, varies].mean(axis=0), real[:, varies].std(axis=0)

    def scale(images: ImageFeatures) -> ImageFeatures:
        scaled = (images.features[:, varies].astype(np.float64) - mean) / deviation
        return ImageFeatures(scaled.astype(np.float32), images.probabilities)

    other = None if sides.other_real is None else scale(sides.other_real)
    left_out = [name for name, kept in zip(feature_names, varies, strict=True) if not kept]
    return Sides(scale(sides.synthetic), scale(sides.real), other), left_out


def left_out_cautions(by_scope: dict[str, list[str]]) -> list[Caution]:
    """What a reader must know of features left out.

    Args:
        by_scope: names of the features by what was compared, for example "all images" or "glioma".
    """
    parts = []
    for scope, names in by_scope.items():
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            parts.append(f"{', '.join(names[:_NAMED])}{more} ({scope})")
    if not parts:
        return []
    sentence = (
        f"Features that are the same in all real images have no scale and were left out: {'; '.join(parts)}. Synthetic "
        "images that differ in them are not found out by these scores."
    )
    return [Caution("constant_features", sentence)]


def _require_finite(images: Images, features: NDArray[np.float32], feature_names: Sequence[str]) -> None:
    bad = np.argwhere(~np.isfinite(features))
    if len(bad):
        image, feature = images[bad[0, 0]]["name"], feature_names[bad[0, 1]]
        n_images = len(set(bad[:, 0].tolist()))
        raise FeaturesNotFinite(
            f"The feature {feature} of the image {image!r} is not a finite number ({n_images} image(s) have such "
            "features). Look at the image, and leave it out.",
            image=image,
            feature=feature,
        )
