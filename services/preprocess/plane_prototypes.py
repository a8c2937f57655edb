"""How likely each imaging plane is for an image, by its nearest reference; and the references that are shipped.

The shipped prototypes are numbers: 100 centres per plane (k-means) of the features of the 1,311 Testing images of the
Nickparvar data set, as they are and turned by 5, 10 and 15 degrees either way, since heads lie askew. Their planes were
told by eye from contact sheets (768 axial, 270 coronal, 273 sagittal); no Training image and no plane label of the
study went into them. They follow anatomy, so a coronal slice without a tumour is coronal, though the study counts none
in that class (study 1.1). They expect the upright orientation of radiology: forehead or crown at the top.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.preprocess.plane_features import FEATURES
from shared.tumour import Plane

PLANES = tuple(plane.value for plane in Plane)
"""A plane's code is its index here."""

_FILE = Path(__file__).with_suffix(".npz")
_BLOCK_ROWS = 1024
# The first two were fitted by log-likelihood on the Testing images, the prototypes of one half judging the other half.
_SHARPNESS = 0.06
_SMALLEST_DISTANCE = 0.01
# The farthest Training slice of the data set lies at 0.20 of its nearest prototype, a plain disc at 0.59.
_UNLIKE_ANY = 0.35


@lru_cache(maxsize=1)
def load_prototypes() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The prototypes: features (300, N_FEATURES) float32 as `plane_features` gives them, and plane codes (300,)."""
    with np.load(_FILE, allow_pickle=False) as stored:
        if str(stored["features"]) != FEATURES:
            raise RuntimeError(f"{_FILE.name} was made for the feature {stored['features']}, not {FEATURES}.")
        gradients = stored["gradients_u8"].astype(np.float32) * (stored["largest"] / np.float32(255))
        prototypes = np.column_stack([gradients, stored["aspects"]]).astype(np.float32)
        codes = np.array([PLANES.index(str(plane)) for plane in stored["planes"]], np.int64)
    prototypes.flags.writeable = codes.flags.writeable = False
    return prototypes, codes


def weigh_planes(
    features: NDArray[np.float32], references: NDArray[np.float32], codes: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The probability of each plane for each image, and which reference is nearest to it.

    A plane is as near as its nearest reference. What decides is how much farther another plane is, relative to the
    distance of the nearest: in an unfamiliar set, where every reference is far, small differences say little. An image
    unlike any reference gets probabilities that sum to less than 1.

    Args:
        features: (N, D) float32.
        references: (M, D) float32, M >= 1.
        codes: (M,) int64, the plane code of each reference.

    Returns:
        (N, 3) float64 probabilities in the order of PLANES, and (N,) int64 indices into the references.
    """
    weights, nearest = np.empty((len(features), len(PLANES))), np.empty(len(features), np.int64)
    of_plane = [np.flatnonzero(codes == code) for code in range(len(PLANES))]
    lengths = np.einsum("md,md->m", references, references)
    for rows in _cut_blocks(len(features)):
        own = features[rows]
        squared = np.einsum("nd,nd->n", own, own)[:, None] + lengths - 2 * own @ references.T
        distances = np.full((len(own), len(PLANES)), np.inf)
        for code, members in enumerate(of_plane):
            if len(members):
                distances[:, code] = np.maximum(squared[:, members].min(axis=1), 0.0)
        weights[rows] = _weigh_distances(distances)
        nearest[rows] = squared.argmin(axis=1)
    return weights, nearest


def _weigh_distances(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities (N, 3) from the squared distance to each plane (N, 3); a fourth "plane" lies at _UNLIKE_ANY."""
    least = distances.min(axis=1, keepdims=True)
    with_none = np.column_stack([distances, np.full(len(distances), _UNLIKE_ANY)])
    excess = (with_none - with_none.min(axis=1, keepdims=True)) / (_SHARPNESS * (least + _SMALLEST_DISTANCE))
    odds = np.exp(-excess)
    return np.asarray(odds[:, :-1] / odds.sum(axis=1, keepdims=True))


def _cut_blocks(n_rows: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK_ROWS) for start in range(0, n_rows, _BLOCK_ROWS))
