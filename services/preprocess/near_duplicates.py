"""Near-duplicates: images of one scan that differ in size, contrast, sharpness, file format or by a mirror.

Every image is reduced to a thumbnail. A coarse index (16 x 16) finds candidate pairs by their correlation, the
thumbnail (64 x 64) verifies them. Correlation ignores brightness and contrast, a thumbnail ignores size and sharpness.

In the Nickparvar data set this separates cleanly: of 1,311 Testing images the best match in Training is above 0.995 for
992, between 0.98 and 0.99 for none; about half of the 992 match only after mirroring.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

THUMBNAIL_PX = 64
_INDEX_PX = 16
_SLACK = 0.02  # averaging raises correlations; of all verified pairs of the data set none was lower in the index
_BLOCK = 1024
_MOST_PAIRS = 64
_MIRRORS = {"none": (1, 1), "left-right": (1, -1), "top-bottom": (-1, 1), "half-turn": (-1, -1)}


@dataclass(frozen=True)
class NearPair:
    """Two images, by position, that show one scan.

    Attributes:
        first: position of the earlier image.
        second: position of the later image.
        correlation: of the two thumbnails, -1..1.
        mirror: how the second must be turned to match the first best: none, left-right, top-bottom or half-turn.
        upright: the correlation as they are, where a mirror has a higher one and this was high enough too, else None.
    """

    first: int
    second: int
    correlation: float
    mirror: str
    upright: float | None = None

    @property
    def unturned(self) -> float | None:
        """The correlation of the two as they are; None where it was too low."""
        return self.correlation if self.mirror == "none" else self.upright


def make_thumbnail(pixels_u8: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A (64, 64) uint8 image for comparison, averaged from the whole image whatever its proportions.

    Args:
        pixels_u8: (H, W) uint8, gray levels 0..255.
    """
    small = cv2.resize(pixels_u8, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8)


def find_near_pairs(
    thumbnails_u8: NDArray[np.uint8],
    least: float,
    *,
    mirrored: bool = True,
    among: Sequence[int] | None = None,
    volumes: Sequence[str | None] | None = None,
    check: Callable[[], None] = lambda: None,
) -> list[NearPair]:
    """Pairs of images whose thumbnails correlate by `least` or more; each pair once, with its best mirror.

    Images without contrast have no correlation with anything. Time grows with the square of N: 7,023 images take
    seconds; memory holds one kilobyte for each image, one block of 1,024 rows, and the pairs. Of very many copies of
    one scan not every pair is kept: of two images that have 64 pairs each, only a pair that joins two groups.

    Args:
        thumbnails_u8: (N, 64, 64) uint8, may be a memory map.
        least: least correlation, 0..1.
        mirrored: whether mirror images and half turns count.
        among: positions to look at, ascending; None takes all.
        volumes: of each image, the volume that it is a slice of, or None; slices of one are never a pair, since
            neighbours correlate as copies do.
        check: called for every block; what it raises ends the search.
    """
    positions = np.arange(len(thumbnails_u8)) if among is None else np.asarray(among, dtype=np.int64)
    if len(positions) < 2:
        return []
    index = _unit_rows(_shrink(thumbnails_u8, positions))
    kept = _PairKeeper(len(positions))
    volume = _number_volumes(positions, volumes)
    for name, (rows, columns) in _MIRRORS.items():
        if name != "none" and not mirrored:
            continue
        for first, second in _candidates(index, rows, columns, least - _SLACK, check):
            apart = (volume[first] != volume[second]) | (volume[first] < 0)
            first, second = first[apart], second[apart]
            if not len(first):
                continue
            (ones, row_of_first), (others, row_of_second) = (np.unique(k, return_inverse=True) for k in (first, second))
            a = _unit_rows(thumbnails_u8[positions[ones]])
            b = _unit_rows(thumbnails_u8[positions[others]][:, ::rows, ::columns])
            correlation = np.einsum("nd,nd->n", a[row_of_first], b[row_of_second])
            for k in np.flatnonzero(correlation >= least):
                kept.add(int(first[k]), int(second[k]), round(float(correlation[k]), 5), name)
    return [
        NearPair(int(positions[first]), int(positions[second]), *found)
        for (first, second), found in sorted(kept.pairs.items())
    ]


def _number_volumes(positions: NDArray[np.int64], volumes: Sequence[str | None] | None) -> NDArray[np.int64]:
    """(N,) int64, the same number of 0 or more for images of one volume, -1 for images of none."""
    numbers: dict[str, int] = {}
    named = [None if volumes is None else volumes[position] for position in positions]
    return np.array([-1 if name is None else numbers.setdefault(name, len(numbers)) for name in named], np.int64)


class _PairKeeper:
    """The pairs worth keeping: all of them, up to a number for each image, and beyond it those that join groups."""

    def __init__(self, n_images: int) -> None:
        self.pairs: dict[tuple[int, int], tuple[float, str, float | None]] = {}
        self._counts = [0] * n_images
        self._groups = _Groups(n_images)

    def add(self, first: int, second: int, correlation: float, mirror: str) -> None:
        known = self.pairs.get((first, second))
        if known is not None:
            if correlation > known[0]:
                upright = known[0] if known[1] == "none" else known[2]
                self.pairs[first, second] = (correlation, mirror, upright)
            return
        joins = self._groups.join(first, second)
        if joins or min(self._counts[first], self._counts[second]) < _MOST_PAIRS:
            self.pairs[first, second] = (correlation, mirror, None)
            self._counts[first] += 1
            self._counts[second] += 1


class _Groups:
    """Disjoint sets of images."""

    def __init__(self, n_images: int) -> None:
        self._parent = list(range(n_images))

    def root(self, node: int) -> int:
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node

    def join(self, first: int, second: int) -> bool:
        """Make one group of two; False if they were one."""
        a, b = self.root(first), self.root(second)
        self._parent[max(a, b)] = min(a, b)
        return a != b


def group_pairs(n_images: int, pairs: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """The number of each image's group, (N,) int64: images joined by a chain of pairs share one.

    Args:
        n_images: N.
        pairs: positions of images that belong together.
    """
    groups = _Groups(n_images)
    for first, second in pairs:
        groups.join(first, second)
    return np.array([groups.root(node) for node in range(n_images)], dtype=np.int64)


def _shrink(thumbnails_u8: NDArray[np.uint8], positions: NDArray[np.int64]) -> NDArray[np.float32]:
    """(N, 16, 16) float32 means of 4 x 4 pixels of these thumbnails, computed in blocks."""
    index = np.empty((len(positions), _INDEX_PX, _INDEX_PX), dtype=np.float32)
    step = THUMBNAIL_PX // _INDEX_PX
    for start in range(0, len(index), _BLOCK):
        block = thumbnails_u8[positions[start : start + _BLOCK]].astype(np.float32)
        tiles = block.reshape(len(block), _INDEX_PX, step, _INDEX_PX, step)
        index[start : start + _BLOCK] = tiles.mean(axis=(2, 4))
    return index


def _unit_rows(images: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, D) float32 with mean 0 and length 1, so that a product of rows is a correlation; constant images are 0."""
    rows = images.reshape(len(images), -1).astype(np.float32)
    rows = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, length, out=np.zeros_like(rows), where=length > 1.0), dtype=np.float32)


def _candidates(
    index: NDArray[np.float32], rows: int, columns: int, least: float, check: Callable[[], None]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Positions (first, second), first < second, of pairs above `least` in the index, a block at a time."""
    turned = index.reshape(-1, _INDEX_PX, _INDEX_PX)[:, ::rows, ::columns].reshape(len(index), -1)
    for start in range(0, len(index), _BLOCK):
        block = index[start : start + _BLOCK]
        for other in range(start, len(index), _BLOCK):
            check()
            first, second = np.nonzero(block @ turned[other : other + _BLOCK].T >= least)
            first, second = first + start, second + other
            ordered = first < second
            for at in range(0, int(ordered.sum()), _BLOCK):
                yield first[ordered][at : at + _BLOCK], second[ordered][at : at + _BLOCK]
