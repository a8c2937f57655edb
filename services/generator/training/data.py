"""Which images a training sees: planes balanced, some held out, and what to be warned of; no torch, for the api's sake.

An image is a member of an image set's manifest; only its `class`, `plane` and `group` (its patient) are looked at.
"""

import math
import random
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.generator.images import ImageU8, check_count
from services.generator.models.preset import Preset
from shared.tumour import TumourClass

FEW_IMAGES: Final = 200
"""Fewer of a class, and a warning says that the model may repeat them; a judgement, the study had 534 to 653."""
RARE_PLANE: Final = 0.15
"""A plane with a smaller share of the images, and a warning says that it will be rare among the samples too."""
Stratum = tuple[TumourClass, str | None]
"""Class and plane (None where planes do not count) of images that are split alike."""
_ROUNDING: Final = 9  # decimals; (1 - 0.43) * 100 is 56.99999999999999 in binary


@dataclass(frozen=True)
class TrainingWarning:
    """Something about the images that whoever uses the model should know; `code` names it for programs."""

    code: str
    detail: str


@dataclass(frozen=True)
class TrainingPlan:
    """Positions in the list of images: which to train on, which to hold out; and what to be warned of."""

    training: list[int]
    held_out: list[int]
    warnings: list[TrainingWarning]


@dataclass(frozen=True)
class TrainingData:
    """Images as the network's preset wants them.

    Args:
        images_u8: (N, H, W) uint8, to train on; kept in memory as a whole (600 of 128 px are 10 MB).
        held_out_u8: (M, H, W) uint8, to measure the loss on; M may be 0.
        classes: (N,) int64, number of each image's class for a class-conditional network, else zeros.
        held_out_classes: (M,) int64, likewise.
    """

    images_u8: ImageU8
    held_out_u8: ImageU8 = field(default_factory=lambda: np.zeros((0, 0, 0), np.uint8))
    classes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    held_out_classes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


def plan_training(
    images: Sequence[Mapping[str, Any]], classes: Sequence[TumourClass], preset: Preset, seed: int
) -> TrainingPlan:
    """Choose among `images` of split Training of the given classes, class after class.

    Where images name a `group`, whole groups are held out, whatever their classes and planes: the loss on another slice
    of a patient who is trained on would say little about new patients.

    Args:
        images: members of a manifest, in its order, which decides what balancing keeps.
        classes: the class of the model, or those of a class-conditional one.
        preset: says which classes are balanced and how many images are held out.
        seed: decides which are held out; the study's was 33.

    Raises:
        TooFewImages: a class has too few images left to train on.
    """
    kept: list[int] = []
    strata: list[Stratum] = []
    warnings: dict[TumourClass, list[TrainingWarning]] = {}
    for tumour_class in classes:
        own = [i for i, image in enumerate(images) if image.get("class") == tumour_class]
        planes = [images[i].get("plane") for i in own]
        balance = tumour_class in preset.balanced_classes
        chosen, warnings[tumour_class] = _choose_kept(planes, tumour_class, balance=balance)
        by_plane = balance or not preset.balanced_classes
        kept += [own[k] for k in chosen]
        strata += [(tumour_class, planes[k] if by_plane else None) for k in chosen]
    training, held_out = split_patients(strata, [images[i].get("group") for i in kept], preset.validation_share, seed)
    for tumour_class in classes:
        n_own = sum(image.get("class") == tumour_class for image in images)
        n_training = sum(strata[k][0] == tumour_class for k in training)
        n_held_out = sum(strata[k][0] == tumour_class for k in held_out)
        what = f"the {tumour_class} images to train on, after balancing and holding out,"
        check_count(n_training, what if n_training < n_own else f"the {tumour_class} images")
        warnings[tumour_class] += _warn_of_split(tumour_class, n_training, n_held_out, preset)
    return TrainingPlan(
        [kept[k] for k in training],
        [kept[k] for k in held_out],
        [warning for tumour_class in classes for warning in warnings[tumour_class]],
    )


def balance_planes(planes: Sequence[str | None]) -> list[int]:
    """Positions of the first m images of each plane, m being the size of the rarest (study 3.1); unknown planes go.

    Planes that do not occur at all count for nothing; where none is known, all images stay.
    """
    counts = Counter(plane for plane in planes if plane is not None)
    if not counts:
        return list(range(len(planes)))
    rarest = min(counts.values())
    seen: Counter[str] = Counter()
    kept = []
    for i, plane in enumerate(planes):
        if plane is not None and seen[plane] < rarest:
            seen[plane] += 1
            kept.append(i)
    return kept


def split_groups(groups: Sequence[Hashable], validation_share: float, seed: int) -> tuple[list[int], list[int]]:
    """Positions to train on and positions held out, both ascending: floor((1 - share) n) of each group are trained on.

    Each group is shuffled by Python's `random.Random(seed)`, as in the study (3.1), and keeps at least one to train on.
    """
    training: list[int] = []
    held_out: list[int] = []
    for group in sorted(set(groups), key=str):
        members = [i for i, name in enumerate(groups) if name == group]
        random.Random(seed).shuffle(members)
        n_training = max(1, math.floor(round((1 - validation_share) * len(members), _ROUNDING)))
        training += members[:n_training]
        held_out += members[n_training:]
    return sorted(training), sorted(held_out)


def split_patients(
    strata: Sequence[Stratum], patients: Sequence[str | None], validation_share: float, seed: int
) -> tuple[list[int], list[int]]:
    """Positions to train on and positions held out, both ascending; all images of a patient are on one side.

    Without patients each stratum is split by `split_groups`. With them, each stratum should lose as many images as
    there. Patients in an order of chance are held out first where no stratum loses too many by it, then where the
    number of images too few or too many falls nevertheless. Every stratum keeps an image to train on.

    Args:
        strata: class and plane of each image.
        patients: of each image; None is a patient of whom there is one image only.
        validation_share: share of each stratum to hold out.
        seed: decides which.
    """
    training, held_out = split_groups(strata, validation_share, seed)
    if not any(patients):
        return training, held_out
    sizes, wanted = Counter(strata), Counter(strata[i] for i in held_out)
    members: dict[Hashable, list[int]] = {}
    for i, patient in enumerate(patients):
        members.setdefault(patient or i, []).append(i)
    order = list(members.values())
    random.Random(seed).shuffle(order)
    held: Counter[Stratum] = Counter()
    chosen: set[int] = set()
    for may_exceed in (False, True):
        for images in order:
            lost = Counter(strata[i] for i in images)
            if chosen.issuperset(images) or any(held[each] + n >= sizes[each] for each, n in lost.items()):
                continue
            exceeds = any(held[each] + n > wanted[each] for each, n in lost.items())
            gain = sum(abs(wanted[s] - held[s]) - abs(wanted[s] - held[s] - n) for s, n in lost.items())
            if gain > 0 and (may_exceed or not exceeds):
                chosen.update(images)
                held += lost
    return [i for i in range(len(strata)) if i not in chosen], sorted(chosen)


def _warn_of_split(
    tumour_class: TumourClass, n_training: int, n_held_out: int, preset: Preset
) -> list[TrainingWarning]:
    warnings = []
    if n_training < FEW_IMAGES:
        detail = f"Only {n_training} {tumour_class} images to train on; the model may repeat them."
        warnings.append(TrainingWarning("few_images", detail))
    if preset.validation_share and not n_held_out:
        detail = f"No {tumour_class} image is held out: whole patients are, and each has too many of the images."
        warnings.append(TrainingWarning("none_held_out", detail))
    return warnings


def _choose_kept(
    planes: Sequence[str | None], tumour_class: TumourClass, *, balance: bool
) -> tuple[list[int], list[TrainingWarning]]:
    """The positions that balancing keeps, or all, and what to be warned of."""
    warnings = []
    counts = Counter(plane for plane in planes if plane is not None)
    unknown = len(planes) - counts.total()
    kept = balance_planes(planes) if balance else list(range(len(planes)))
    if unknown:
        fate = "left out of the balanced set" if balance and counts else "kept"
        detail = f"{unknown} of {len(planes)} {tumour_class} images have no known plane; they are {fate}."
        warnings.append(TrainingWarning("planes_unknown", detail))
    if counts and not balance and min(counts.values()) < RARE_PLANE * counts.total():
        rarest = min(counts, key=lambda plane: counts[plane])
        detail = (
            f"Only {counts[rarest]} of {counts.total()} {tumour_class} images are {rarest}; few samples will be. "
            f"`balanced_classes` with {tumour_class} keeps as many of each plane."
        )
        warnings.append(TrainingWarning("planes_unbalanced", detail))
    if balance and counts and len(kept) < len(planes) / 2:
        detail = f"Balancing the planes keeps {len(kept)} of {len(planes)} {tumour_class} images."
        warnings.append(TrainingWarning("planes_unbalanced", detail))
    return kept, warnings
