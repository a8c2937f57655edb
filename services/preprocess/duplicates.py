"""Exact duplicates: images whose decoded gray pixels are equal, within a split and across splits.

Hashing pixels finds the study's groups exactly (155 groups, 207 removed in Training; 21 and 30 in Testing, study 2.1).
difPy, which the study used, reports false duplicates above 5,000 images.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.tumour import Split


@dataclass(frozen=True)
class HashedImage:
    """An image as the search sees it: its name, split and class (or None), and the hash of its pixels."""

    name: str
    split: str | None
    tumour_class: str | None
    pixel_hash: str


@dataclass(frozen=True)
class DuplicateGroup:
    """Equal images of one split: the first in the order given is kept.

    The study kept an arbitrary member (difPy's directory order); all members have the same pixels, so counts agree.
    """

    split: str | None
    kept: str
    removed: tuple[str, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Leak:
    """A Testing image whose pixels occur in Training: a classifier has seen it."""

    testing: str
    training: str


def hash_pixels(pixels_u8: NDArray[np.uint8]) -> str:
    """A hash (32 hex digits) that two images share only if their size and every pixel agree.

    Args:
        pixels_u8: (H, W) uint8, gray levels 0..255.
    """
    digest = hashlib.sha256(f"{pixels_u8.shape[0]}x{pixels_u8.shape[1]}:".encode())
    digest.update(np.ascontiguousarray(pixels_u8).data)
    return digest.hexdigest()[:32]


def find_duplicates(images: Sequence[HashedImage]) -> list[DuplicateGroup]:
    """Groups of two or more equal images of the same split, in the order of their first member."""
    groups: dict[tuple[str | None, str], list[HashedImage]] = defaultdict(list)
    for image in images:
        groups[image.split, image.pixel_hash].append(image)
    return [
        DuplicateGroup(
            split=members[0].split,
            kept=members[0].name,
            removed=tuple(member.name for member in members[1:]),
            classes=tuple(sorted({member.tumour_class for member in members if member.tumour_class})),
        )
        for members in groups.values()
        if len(members) > 1
    ]


def find_leaks(images: Sequence[HashedImage]) -> list[Leak]:
    """Testing images with an equal image in Training, each with the first such image."""
    training: dict[str, str] = {}
    for image in images:
        if image.split == Split.TRAINING:
            training.setdefault(image.pixel_hash, image.name)
    return [
        Leak(testing=image.name, training=training[image.pixel_hash])
        for image in images
        if image.split == Split.TESTING and image.pixel_hash in training
    ]
