"""A checked pair of feature samples, which every distance starts from."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidInput

Features = NDArray[np.float64]
"""(n, d) float64, one row per image, in the feature space of one extractor."""


class TooFewImages(InvalidInput):
    """A distance between two distributions needs at least two images on each side."""


class FeaturesNotFinite(InvalidInput):
    """A feature is NaN or infinite, so that no distance is defined."""


class FeatureSpacesDiffer(InvalidInput):
    """The two samples do not come from the same feature extractor."""


def check_features(features: NDArray[Any], side: str) -> Features:
    """The same features as float64, after the checks that make a distance meaningful.

    Args:
        features: (n, d) of any real dtype, unbounded.
        side: what the sample is called in an error, for example "synthetic".

    Raises:
        TooFewImages: n < 2.
        FeaturesNotFinite: a value is NaN or infinite.
    """
    sample = np.asarray(features, dtype=np.float64)
    if sample.ndim != 2 or sample.shape[1] == 0:
        raise FeatureSpacesDiffer(f"The {side} features have shape {sample.shape}; expected (images, features).")
    if sample.shape[0] < 2:
        raise TooFewImages(
            f"The {side} side has {sample.shape[0]} image(s); a distance between distributions needs at least 2.",
            side=side,
            n=sample.shape[0],
        )
    if not np.isfinite(sample).all():
        n_bad = int((~np.isfinite(sample)).any(axis=1).sum())
        raise FeaturesNotFinite(
            f"{n_bad} of {sample.shape[0]} {side} images have features that are not finite numbers."
        )
    return sample


def check_pair(generated: NDArray[Any], reference: NDArray[Any]) -> tuple[Features, Features]:
    """Both samples as float64, in the order generated, reference; see `check_features`.

    Raises:
        FeatureSpacesDiffer: the numbers of features differ.
    """
    pair = check_features(generated, "synthetic"), check_features(reference, "real")
    if pair[0].shape[1] != pair[1].shape[1]:
        raise FeatureSpacesDiffer(
            f"The synthetic images have {pair[0].shape[1]} features and the real ones {pair[1].shape[1]}; "
            "both sides must come from one extractor."
        )
    return pair
