"""The few reference images that each image resembles most, found among all turned and mirrored ones."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from services.evaluator.audit.registration import shrink, turn

SEARCH_PX: Final = 32
ANGLES_DEG: Final = tuple(range(-20, 21, 4))
"""Rotations of the reference that are tried: a real image may be turned by 10 degrees itself, and so may its copy."""

_BLUR_PX: Final = 1.0  # lets a copy be found that is shifted by a few pixels, as a correlation of sharp pixels does not
_BLOCK: Final = 512

Vectors = NDArray[np.float32]
"""(n, 1024) float32, each row of mean 0 and length 1, so that a product of rows is a correlation."""


@dataclass(frozen=True)
class Candidates:
    """For each of n images the k references most like it, best first.

    Attributes:
        rows: (n, k) int64 rows of the reference.
        mirrored: (n, k) bool, whether the image must be mirrored left to right to match.
        angles_deg: (n, k) float64 rotation of the reference, degrees counter-clockwise.
    """

    rows: NDArray[np.int64]
    mirrored: NDArray[np.bool_]
    angles_deg: NDArray[np.float64]


def pixel_vectors(images_u8: NDArray[np.uint8], blur_px: float = 0.0) -> Vectors:
    """One row of 1,024 numbers for each image: its 32 x 32 gray levels with mean 0 and length 1.

    Args:
        images_u8: (n, h, w) uint8, gray levels 0..255.
        blur_px: sigma of a Gaussian blur at 32 x 32, in pixels.
    """
    small = shrink(images_u8, SEARCH_PX).astype(np.float32)
    if blur_px:
        small = np.array([cv2.GaussianBlur(image, (0, 0), blur_px) for image in small])
    rows = small.reshape(len(small), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, length, out=np.zeros_like(rows), where=length > 1e-3), dtype=np.float32)


def mirror(images_u8: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, h, w) uint8, left and right exchanged."""
    return np.ascontiguousarray(images_u8[:, :, ::-1])


def search(
    images_u8: NDArray[np.uint8],
    reference_u8: NDArray[np.uint8],
    *,
    k: int,
    exclude_self: bool = False,
    check: Callable[[], None] = lambda: None,
) -> Candidates:
    """The k best references of every image over eleven rotations and a mirror, by correlation at 32 x 32 pixels.

    The image is mirrored, not the reference: a mirrored image against a turned reference is one more matrix product,
    where the reference would have to be turned twice. Memory holds one block of 512 references, whatever their number.

    Args:
        images_u8: (n, 128, 128) uint8.
        reference_u8: (m, 128, 128) uint8.
        k: candidates for each image; fewer where the reference is smaller.
        exclude_self: the reference begins with the same images, and none is its own candidate.
        check: called for every block and angle; what it raises ends the search.
    """
    queries = np.concatenate([pixel_vectors(images_u8, _BLUR_PX), pixel_vectors(mirror(images_u8), _BLUR_PX)])
    n, k = len(images_u8), min(k, len(reference_u8) - exclude_self)
    best: NDArray[Any] = np.full((n, 0), -np.inf, np.float32)
    rows: NDArray[Any] = np.zeros((n, 0), np.int64)
    pose: NDArray[Any] = np.zeros((n, 0), np.int64)
    for start in range(0, len(reference_u8), _BLOCK):
        block = reference_u8[start : start + _BLOCK]
        scores, poses = _score_block(queries, block, check)
        if exclude_self:
            own = np.arange(start, min(start + len(block), n))
            scores[own, own - start] = -np.inf
        numbers = np.broadcast_to(np.arange(start, start + len(block)), scores.shape)
        best, rows, pose = (
            np.concatenate(pair, axis=1) for pair in ((best, scores), (rows, numbers), (pose, poses.astype(np.int64)))
        )
        order = np.argsort(-best, axis=1, kind="stable")[:, :k]
        best, rows, pose = (np.take_along_axis(part, order, axis=1) for part in (best, rows, pose))
    return Candidates(rows, pose % 2 == 1, np.array(ANGLES_DEG, np.float64)[pose // 2])


def _score_block(
    queries: Vectors, block_u8: NDArray[np.uint8], check: Callable[[], None]
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """(n, m) best correlation of each pair over all poses, and the pose: 2 * angle + mirrored."""
    n = len(queries) // 2
    scores = np.full((n, len(block_u8)), -np.inf, np.float32)
    poses = np.zeros(scores.shape, np.int8)
    for number, turned in enumerate(_turned_vectors(block_u8)):
        check()
        products = queries @ turned.T
        for mirrored, part in enumerate((products[:n], products[n:])):
            better = part > scores
            scores[better] = part[better]
            poses[better] = 2 * number + mirrored
    return scores, poses


def _turned_vectors(block_u8: NDArray[np.uint8]) -> Iterator[Vectors]:
    for angle in ANGLES_DEG:
        turned = block_u8 if angle == 0 else np.array([turn(image, angle) for image in block_u8])
        yield pixel_vectors(turned, _BLUR_PX)


def group_alike(images_u8: NDArray[np.uint8], least: float) -> NDArray[np.int64]:
    """(n,) int64 group numbers: images joined by a chain of alike ones, mirrored or not, share one.

    Args:
        images_u8: (n, h, w) uint8.
        least: correlation at 32 x 32 pixels from which two images are alike.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    vectors, mirrored = pixel_vectors(images_u8), pixel_vectors(mirror(images_u8))
    pairs = []
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        alike = np.maximum(block @ vectors.T, block @ mirrored.T) >= least
        pairs.append(np.argwhere(alike) + np.array([start, 0]))
    first, second = np.concatenate(pairs).T
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(len(vectors), len(vectors)))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)
