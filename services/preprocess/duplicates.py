"""Copies: equal images and near-duplicates, their groups, and what leaks from Training into Testing, scan or patient.

Hashing pixels finds the study's groups of equal images exactly (155 groups, 207 removed in Training; 21 and 30 in
Testing, study 2.1). difPy, which the study used, reports false duplicates above 5,000 images.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.preprocess.near_duplicates import NearPair, group_pairs
from shared.tumour import Split


@dataclass(frozen=True)
class HashedImage:
    """An image as the search sees it: its name, split and class (or None), the hash of its pixels, and its patient.

    The patient is what people called the image's `group`, or None; `group` means copies here. The volume is what it is
    a slice of, or None: slices of one volume are never copies of each other, as alike as neighbours may look.
    """

    name: str
    split: str | None
    tumour_class: str | None
    pixel_hash: str
    patient: str | None = None
    volume: str | None = None


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
    """A Testing image that shows a scan of Training: a classifier has seen it.

    Attributes:
        testing: its name.
        training: the name of its best match in Training.
        correlation: of their thumbnails; 1 for equal pixels; None if only a chain of other copies joins the two.
        mirror: how one must be turned to match the other: none, left-right, top-bottom or half-turn.
        exact: whether the pixels are equal.
    """

    testing: str
    training: str
    correlation: float | None
    mirror: str
    exact: bool


@dataclass(frozen=True)
class Copies:
    """All that is known of copies among N images.

    Attributes:
        images: the images, in their order.
        pairs: near-duplicates, by position; of equal images the first stands for all.
        exact: (N,) int64, the same number for equal images.
        group: (N,) int64, the same number for images joined by equality or by near-duplicates.
    """

    images: Sequence[HashedImage]
    pairs: Sequence[NearPair]
    exact: NDArray[np.int64]
    group: NDArray[np.int64]


def hash_pixels(pixels_u8: NDArray[np.uint8]) -> str:
    """A hash (32 hex digits) that two images share only if their size and every pixel agree.

    Args:
        pixels_u8: (H, W) uint8, gray levels 0..255.
    """
    digest = hashlib.sha256(f"{pixels_u8.shape[0]}x{pixels_u8.shape[1]}:".encode())
    digest.update(np.ascontiguousarray(pixels_u8).data)
    return digest.hexdigest()[:32]


def find_copies(images: Sequence[HashedImage], pairs: Sequence[NearPair] = ()) -> Copies:
    """The groups that equal pixels and near-duplicates make."""
    numbers: dict[str, int] = {}
    exact = np.array([numbers.setdefault(image.pixel_hash, k) for k, image in enumerate(images)], dtype=np.int64)
    equal = [(int(first), k) for k, first in enumerate(exact)]
    group = group_pairs(len(images), equal + [(pair.first, pair.second) for pair in pairs])
    return Copies(images, pairs, exact, group)


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


def find_leaks(copies: Copies, among: Collection[str] | None = None) -> list[Leak]:
    """Testing images that share a group with an image of Training, each with its best match there.

    An image without a split counts as Training, since that is where it is used.

    Args:
        copies: the groups.
        among: only images of these names count, on both sides; None takes all.
    """
    images = copies.images
    counts = [among is None or image.name in among for image in images]
    training: dict[int, int] = {}
    for k, image in enumerate(images):
        if counts[k] and image.split != Split.TESTING:
            training.setdefault(int(copies.group[k]), k)
    best = _best_matches(copies, counts)
    leaks: list[Leak] = []
    for k, image in enumerate(images):
        if counts[k] and image.split == Split.TESTING and int(copies.group[k]) in training:
            leaks.append(
                best.get(k) or Leak(image.name, images[training[int(copies.group[k])]].name, None, "none", False)
            )
    return leaks


def _best_matches(copies: Copies, counts: Sequence[bool]) -> dict[int, Leak]:
    """For positions in Testing, the equal image of Training, else the one that correlates most.

    A pair stands for all images that are equal to its two.
    """
    images = copies.images
    trained: dict[int, int] = {}
    for k, image in enumerate(images):
        if counts[k] and image.split != Split.TESTING:
            trained.setdefault(int(copies.exact[k]), k)
    nearest: dict[int, tuple[float, str, int]] = {}
    for pair in copies.pairs:
        ends = int(copies.exact[pair.first]), int(copies.exact[pair.second])
        for one, other in (ends, ends[::-1]):
            if other in trained and pair.correlation > nearest.get(one, (0.0, "", 0))[0]:
                nearest[one] = (pair.correlation, pair.mirror, trained[other])
    best: dict[int, Leak] = {}
    for k, image in enumerate(images):
        number = int(copies.exact[k])
        if image.split != Split.TESTING or not counts[k]:
            continue
        if number in trained:
            best[k] = Leak(image.name, images[trained[number]].name, 1.0, "none", True)
        elif number in nearest:
            correlation, mirror, match = nearest[number]
            best[k] = Leak(image.name, images[match].name, correlation, mirror, False)
    return best


def find_crossing_patients(copies: Copies, among: Collection[str] | None = None) -> dict[str, frozenset[str]]:
    """By name, images of a patient who has images in both splits, each with those patients.

    An image is of the patients of all its copies, whatever `among` is: the one copy that says so may be dropped. An
    image without a split counts as Training.

    Args:
        copies: the groups.
        among: only images of these names count, on both sides; None takes all.
    """
    patients = find_patients(copies)
    counting = [image for image in copies.images if among is None or image.name in among]
    training: set[str] = set()
    testing: set[str] = set()
    for image in counting:
        (testing if image.split == Split.TESTING else training).update(patients[image.name])
    found = {image.name: patients[image.name] & training & testing for image in counting}
    return {name: crossing for name, crossing in found.items() if crossing}


def find_patients(copies: Copies) -> dict[str, frozenset[str]]:
    """By name, the patients that people gave to each image and to all its copies, kept or not.

    Slices without a name have their volume's, as a patient; and where people agree on who its slices or their copies
    show, all slices of a volume, and all their copies, are of that patient.
    """
    named = _patients_by_group(copies)
    of_volume = _patients_by_volume(copies)
    for number, image in zip(copies.group, copies.images, strict=True):
        if image.volume is not None and len(of_volume[image.volume]) == 1:
            named[int(number)] |= of_volume[image.volume]
    return {
        image.name: frozenset(named.get(int(number), ()))
        for number, image in zip(copies.group, copies.images, strict=True)
    }


def choose_patients(copies: Copies) -> dict[str, str | None]:
    """By name, one patient of `find_patients` for each image, which keeps its images together; None if none is known.

    The one whom people named at the image; else at another slice of its volume or at a copy of one, if they agree; else
    its volume; else one named at a copy of it, the first by name: of copies one may bear the patient, another be kept.
    """
    found, of_volume = find_patients(copies), _patients_by_volume(copies)

    def choose(image: HashedImage) -> str | None:
        if image.patient and image.patient != image.volume:
            return image.patient
        if image.volume is not None and len(of_volume[image.volume]) == 1:
            return min(of_volume[image.volume])
        return image.patient or min(found[image.name] - of_volume.keys() or found[image.name], default=None)

    return {image.name: choose(image) for image in copies.images}


def _patients_by_group(copies: Copies) -> dict[int, set[str]]:
    """By group of copies, the patients of its images."""
    named: dict[int, set[str]] = defaultdict(set)
    for number, image in zip(copies.group, copies.images, strict=True):
        if image.patient:
            named[int(number)].add(image.patient)
    return named


def _patients_by_volume(copies: Copies) -> dict[str, set[str]]:
    """By volume, whom people named at its slices and at copies of these."""
    named, of_volume = _patients_by_group(copies), defaultdict[str, set[str]](set)
    for number, image in zip(copies.group, copies.images, strict=True):
        if image.volume is not None:
            of_volume[image.volume] |= named[int(number)]
    return {volume: patients - of_volume.keys() for volume, patients in of_volume.items()}


def find_label_conflicts(copies: Copies, *, exact: bool, among: Collection[str] | None = None) -> list[list[str]]:
    """Names of copies that bear different classes, group by group.

    Args:
        copies: the groups.
        exact: whether only equal pixels count, or every copy.
        among: only images of these names count; None takes all.
    """
    groups: dict[int, list[HashedImage]] = defaultdict(list)
    for number, image in zip(copies.exact if exact else copies.group, copies.images, strict=True):
        if among is None or image.name in among:
            groups[int(number)].append(image)
    return [
        [member.name for member in members]
        for members in groups.values()
        if len({member.tumour_class for member in members if member.tumour_class}) > 1
    ]
