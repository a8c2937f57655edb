"""The imaging plane of every image of a set: clusters found without labels, then named by a few.

HDBSCAN (Campello, Moulavi and Sander 2013, doi:10.1007/978-3-642-37456-2_14) finds dense groups in the features of
`plane_features`. A group takes the plane that the user's labels in it say; without one, the plane of the shipped
prototypes nearest to its members. Images that HDBSCAN calls noise, images of groups that mix planes, and all images of
a set too small to cluster take the plane of their nearest neighbour among what is named already.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.preprocess.plane_features import FEATURES
from services.preprocess.plane_prototypes import PLANES, load_prototypes, weigh_planes
from shared.errors import InvalidInput

__all__ = [
    "FEATURES",
    "PlaneAssignment",
    "PlaneCluster",
    "PlaneResult",
    "UnknownPlane",
    "assign_planes",
    "predict_plane",
]

NOISE = -1
SMALLEST_CLUSTERED = 150
"""Sets of fewer images are not clustered: in 100 images HDBSCAN was seen to take two planes for one cluster."""

_PURE = 0.8
_N_COMPONENTS = 40
_BLOCK_ROWS = 8192

How = Literal["label", "cluster", "neighbours", "prototype"]
NamedBy = Literal["labels", "prototypes", "both"]
Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


class UnknownPlane(InvalidInput):
    """A label names a plane that does not exist, or an image that is not in the set."""


@dataclass(frozen=True)
class PlaneAssignment:
    """The plane of one image.

    Attributes:
        plane: axial, coronal or sagittal.
        confidence: in [0, 1], the estimated probability that the plane is right; 1 for a label of the user.
        how: what said so: a user's label, the cluster the image lies in, labelled or clustered neighbours in the set,
            or the nearest shipped prototype.
        cluster: the number of the HDBSCAN cluster, from 0; -1 for noise and for sets that are not clustered.
    """

    plane: str
    confidence: float
    how: How
    cluster: int


@dataclass(frozen=True)
class PlaneCluster:
    """One cluster, for the report.

    Attributes:
        cluster: its number, from 0.
        size: images in it.
        plane: its plane; None where its members disagree and were each assigned by their neighbours.
        named_by: what named it.
        n_labelled: members that the user labelled.
        purity: share of the commonest plane among the labelled members; None without any.
        prototype_share: share of the commonest plane among the members' nearest prototypes.
    """

    cluster: int
    size: int
    plane: str | None
    named_by: Literal["labels", "prototypes"] | None
    n_labelled: int
    purity: float | None
    prototype_share: float


@dataclass(frozen=True)
class PlaneResult:
    """The planes of a set and how they were found.

    Attributes:
        assignments: one per row of the features, in their order.
        clusters: the clusters, largest first.
        n_noise: images that HDBSCAN left out; 0 for sets that are not clustered.
        features: name and version of the feature.
        named_by: whether labels, prototypes or both gave the planes their names.
    """

    assignments: list[PlaneAssignment]
    clusters: list[PlaneCluster]
    n_noise: int
    features: str
    named_by: NamedBy


def assign_planes(
    features: Floats, labels: Mapping[int, str], *, max_clustered: int = 20_000, seed: int = 0
) -> PlaneResult:
    """The plane of every image of a set.

    Args:
        features: (N, N_FEATURES) float32 from `plane_features`.
        labels: row of the features -> plane, as far as the user knows; they stand, and name the clusters they lie in.
        max_clustered: at most so many images, the labelled ones and others drawn by `seed`, are clustered; the rest
            follow their neighbours, in blocks, so that memory stays bounded.
        seed: of that draw.

    Raises:
        UnknownPlane: a label is no plane, or its row is not in the set.
    """
    features = np.ascontiguousarray(features, np.float32)
    labelled = _read_labels(labels, len(features))
    prototypes, prototype_codes = load_prototypes()
    chances, _ = weigh_planes(features, prototypes, prototype_codes)
    numbers, n_noise = _number_images(features, labelled, max_clustered, seed)
    clusters = _name_clusters(numbers, chances, labelled)

    codes, confidence = np.full(len(features), -1), np.zeros(len(features))
    how: NDArray[np.object_] = np.full(len(features), "neighbours", dtype=object)
    for cluster in clusters:
        if cluster.plane is not None:
            members, code = np.flatnonzero(numbers == cluster.cluster), PLANES.index(cluster.plane)
            codes[members], how[members] = code, "cluster"
            confidence[members] = _trust_cluster(cluster, chances[members, code])
    for row, code in labelled.items():
        codes[row], confidence[row], how[row] = code, 1.0, "label"

    known, unknown = np.flatnonzero(codes >= 0), np.flatnonzero(codes < 0)
    references = np.vstack([prototypes, features[known]])
    reference_codes = np.append(prototype_codes, codes[known])
    for rows in np.array_split(unknown, len(unknown) // _BLOCK_ROWS + 1):
        weights, nearest = weigh_planes(features[rows], references, reference_codes)
        codes[rows], confidence[rows] = weights.argmax(axis=1), weights.max(axis=1)
        how[rows[nearest < len(prototypes)]] = "prototype"
    assignments = [
        PlaneAssignment(PLANES[code], round(float(sure), 4), way, int(number))
        for code, sure, way, number in zip(codes, confidence, how, numbers, strict=True)
    ]
    return PlaneResult(assignments, clusters, n_noise, FEATURES, _say_what_named(clusters, set(how)))


def predict_plane(features: Floats, references: tuple[Floats, Sequence[str]] | None = None) -> PlaneAssignment:
    """The plane of one new image, by its nearest reference.

    Args:
        features: (N_FEATURES,) float32 from `plane_features`.
        references: (M, N_FEATURES) float32 and their M planes, for example a set whose planes are known; the shipped
            prototypes where there are none.

    Raises:
        UnknownPlane: the plane of a reference is none.
    """
    if references is None or not len(references[0]):
        how: How = "prototype"
        known, codes = load_prototypes()
    else:
        how = "neighbours"
        known, codes = references[0], np.array([_read_plane(plane) for plane in references[1]])
    (weights,), _ = weigh_planes(features[None], known, codes)
    return PlaneAssignment(PLANES[int(weights.argmax())], round(float(weights.max()), 4), how, NOISE)


def _read_labels(labels: Mapping[int, str], n_images: int) -> dict[int, int]:
    """Row -> plane code."""
    outside = [row for row in labels if not 0 <= row < n_images]
    if outside:
        raise UnknownPlane(f"A plane is given for image {outside[0]} of a set of {n_images}: label images of the set.")
    return {row: _read_plane(plane) for row, plane in sorted(labels.items())}


def _read_plane(plane: str) -> int:
    if plane not in PLANES:
        raise UnknownPlane(f"{plane!r} is no imaging plane; use one of {', '.join(PLANES)}.", valid=list(PLANES))
    return PLANES.index(plane)


def _number_images(features: Floats, labelled: Mapping[int, int], most: int, seed: int) -> tuple[Integers, int]:
    """The cluster of each image, and how many of the images that were clustered are noise."""
    numbers = np.full(len(features), NOISE, np.int64)
    sample = np.arange(len(features))
    if len(sample) > most:
        first = np.fromiter(labelled, np.int64, len(labelled))[:most]
        others = np.random.default_rng(seed).permutation(np.setdiff1d(sample, first))
        sample = np.sort(np.concatenate([first, others[: most - len(first)]]))
    if len(sample) < SMALLEST_CLUSTERED:
        return numbers, 0
    numbers[sample] = _find_clusters(features[sample])
    return numbers, int(np.sum(numbers[sample] == NOISE))


def _find_clusters(features: Floats) -> Integers:
    """The HDBSCAN cluster of each image, -1 for noise, on the principal components of the features."""
    from sklearn.cluster import HDBSCAN

    centred = features - features.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)  # eigenvalues ascend
    # Clusters of at least one percent: 5,712 images of three planes then make three clusters and 6 % of noise.
    smallest = max(10, len(features) // 100)
    clusterer = HDBSCAN(min_cluster_size=smallest, min_samples=3, copy=True)
    return np.asarray(clusterer.fit_predict(centred @ axes[:, -_N_COMPONENTS:]), np.int64)


def _name_clusters(numbers: Integers, chances: NDArray[np.float64], labelled: Mapping[int, int]) -> list[PlaneCluster]:
    """The clusters, largest first, each with the plane that its labels, else its nearest prototypes, give it."""
    found, sizes = np.unique(numbers[numbers != NOISE], return_counts=True)
    rows, codes = np.array(list(labelled), np.int64), np.array(list(labelled.values()), np.int64)
    clusters = []
    for number, size in sorted(zip(found, sizes, strict=True), key=lambda pair: (-pair[1], pair[0])):
        looks = np.bincount(chances[numbers == number].argmax(axis=1), minlength=len(PLANES)) / size
        votes = np.bincount(codes[numbers[rows] == number], minlength=len(PLANES))
        n_labelled = int(votes.sum())
        purity = float(votes.max() / n_labelled) if n_labelled else None
        # Where the prototypes see two planes, HDBSCAN has run two groups into one, whatever its few labels say.
        mixed = looks.max() < _PURE or (purity is not None and purity < _PURE)
        named_by: Literal["labels", "prototypes"] | None = None if mixed else "labels" if n_labelled else "prototypes"
        plane = None if mixed else PLANES[int((votes if n_labelled else looks).argmax())]
        clusters.append(
            PlaneCluster(int(number), int(size), plane, named_by, n_labelled, purity, round(float(looks.max()), 4))
        )
    return clusters


def _trust_cluster(cluster: PlaneCluster, chances: NDArray[np.float64]) -> NDArray[np.float64]:
    """The confidence of each member, from how sure the cluster's name is and from what the member looks like.

    The prototypes count as one more label. A member that looks like another plane keeps half of the cluster's say.
    """
    agreeing = (cluster.purity or 0.0) * cluster.n_labelled
    share = (agreeing + chances.mean()) / (cluster.n_labelled + 1)
    return np.asarray(share * (0.5 + 0.5 * chances))


def _say_what_named(clusters: Sequence[PlaneCluster], how: set[How]) -> NamedBy:
    by_prototypes = "prototype" in how or any(cluster.named_by == "prototypes" for cluster in clusters)
    if "label" not in how:
        return "prototypes"
    return "both" if by_prototypes else "labels"
