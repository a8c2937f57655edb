"""Which images a training sees: planes balanced, some held out, and what to be warned of; no torch, for the api's sake.

An image is a member of an image set's manifest; only its `class` and `plane` are looked at.
"""

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.generator.images import ImageU8, check_count
from services.generator.preset import Preset
from shared.tumour import TumourClass

FEW_IMAGES: Final = 200
"""Fewer of a class, and a warning says that the model may repeat them; a judgement, the study had 534 to 653."""
RARE_PLANE: Final = 0.15
"""A plane with a smaller share of the images, and a warning says that it will be rare among the samples too."""
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

    Args:
        images: members of a manifest, in its order, which decides what balancing keeps.
        classes: the class of the model, or those of a class-conditional one.
        preset: says which classes are balanced and how many images are held out.
        seed: decides which are held out; the study's was 33.

    Raises:
        TooFewImages: a class has too few images left to train on.
    """
    plan = TrainingPlan([], [], [])
    for tumour_class in classes:
        own = [i for i, image in enumerate(images) if image.get("class") == tumour_class]
        planes = [images[i].get("plane") for i in own]
        kept, warnings = _choose_kept(planes, tumour_class, balance=tumour_class in preset.balanced_classes)
        by_plane = not preset.balanced_classes or tumour_class in preset.balanced_classes
        groups = [planes[k] if by_plane else None for k in kept]
        training, held_out = split_groups(groups, preset.validation_share, seed)
        what = f"the {tumour_class} images to train on, after balancing and holding out,"
        check_count(len(training), what if len(training) < len(own) else f"the {tumour_class} images")
        if len(training) < FEW_IMAGES:
            detail = f"Only {len(training)} {tumour_class} images to train on; the model may repeat them."
            warnings.append(TrainingWarning("few_images", detail))
        plan.training.extend(own[kept[k]] for k in training)
        plan.held_out.extend(own[kept[k]] for k in held_out)
        plan.warnings.extend(warnings)
    return plan


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


def split_groups(groups: Sequence[str | None], validation_share: float, seed: int) -> tuple[list[int], list[int]]:
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
