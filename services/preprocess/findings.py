"""What a preprocessing job found out, as the report and its figures take it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.preprocess.analysis import Measurement
from services.preprocess.duplicates import Copies, Leak
from services.preprocess.near_duplicates import NearPair
from services.preprocess.recipe import Recipe
from services.preprocess.selection import Drop


@dataclass(frozen=True)
class Findings:
    """Facts about one job.

    Attributes:
        images: every readable image in the order of the raw set, with plane, group and corrected class.
        kept: names of the images that stay, in the order of the result.
        drops: readable images that do not stay.
        unreadable: images of the raw set that could not be read; the reason is the error's code.
        skipped: files that the upload refused already.
        upload_warnings: sentences of the upload on files that it took, such as scans that say they have text in them.
        pairs: near-duplicates by position in `images`, at the recipe's threshold or the default one.
        copies: the groups that equal pixels and these pairs make, whether the recipe drops them or not.
        leaks: Testing images that show a scan of Training, in the whole set.
        kept_leaks: the same among the images that stay.
        planes: how planes were found (features, clusters, noise), or None.
        recipe: what was done, with everything resolved.
    """

    images: Sequence[Measurement]
    kept: Sequence[str]
    drops: Sequence[Drop]
    unreadable: Sequence[Drop]
    skipped: Sequence[Drop]
    upload_warnings: Sequence[str]
    pairs: Sequence[NearPair]
    copies: Copies
    leaks: Sequence[Leak]
    kept_leaks: Sequence[Leak]
    planes: Mapping[str, Any] | None
    recipe: Recipe


@dataclass(frozen=True)
class Example:
    """One image as uploaded and as prepared.

    Attributes:
        name: its name in the raw set.
        tumour_class: its class.
        plane: its plane, or None.
        raw_u8: (H, W) uint8, gray levels 0..255.
        prepared_u8: (S, S) uint8, gray levels 0..255.
        parameters: what was done to it, from the manifest.
    """

    name: str
    tumour_class: str
    plane: str | None
    raw_u8: NDArray[np.uint8]
    prepared_u8: NDArray[np.uint8]
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class MatchPicture:
    """Two images of one scan, side by side.

    Attributes:
        title: what they are, in a few words.
        first_u8: (H, W) uint8, gray levels 0..255; of a leak, the Testing image.
        second_u8: (H, W) uint8; of a leak, the Training image.
        mirror: how the first must be turned to match the second.
    """

    title: str
    first_u8: NDArray[np.uint8]
    second_u8: NDArray[np.uint8]
    mirror: str


@dataclass(frozen=True)
class Pictures:
    """The pixels that the figures need; a few images, whatever the size of the set.

    Attributes:
        examples: up to one image of each class and plane.
        leaks: up to ten leaks.
        conflicts: up to six copies with different classes.
        levels_before: by class, (n, 256) pixels at each gray level of up to 100 Training images as uploaded.
        levels_after: the same of up to 100 of its prepared Training images.
    """

    examples: Sequence[Example]
    leaks: Sequence[MatchPicture]
    conflicts: Sequence[MatchPicture]
    levels_before: Mapping[str, NDArray[np.integer]]
    levels_after: Mapping[str, NDArray[np.integer]]
