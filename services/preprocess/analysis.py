"""What a set of images is like: counts, sizes, colour, blur, gray levels and planes, as plain numbers."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from services.preprocess.burned_text import count_letters
from services.preprocess.duplicates import HashedImage, hash_pixels
from services.preprocess.geometry import is_nearly_square
from services.preprocess.reading import GrayImage

BLUR_VARIANCE = 50.0  # study 1.1: Laplacian variance below 50 is blurry
LEAST_CONTRAST = 1.0  # a standard deviation below one gray level shows no brain
LEAST_CONFIDENCE = 0.6  # planes less sure than this want a look
UNKNOWN = "unknown"
Counts = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Measurement:
    """One readable image of the set.

    Attributes:
        name: its name in the raw set.
        split: Training, Testing, or None.
        tumour_class: its class, or None.
        width: columns at native size, pixels.
        height: rows at native size, pixels.
        format: the file's format by content.
        mode: the file's colour mode, Pillow's spelling.
        depth_bits: bits per sample as stored.
        colour_chained: coloured by the study's test.
        colour_strict: coloured by any difference.
        sharpness: variance of the Laplacian, squared gray levels.
        mean_gray: mean gray level, 0..255.
        contrast: standard deviation of the gray levels; 0 for an image of one level.
        n_letters: letters in the longest line of text in its margin, 0 for none; see `burned_text`.
        pixel_hash: hash of the decoded gray pixels.
        plane: imaging plane, or None where it was not looked for.
        plane_confidence: 0..1, or None where a person named the plane.
        plane_source: how the plane is known: user, file, cluster, neighbours or prototype.
        group: what must not be in two splits, a patient for example, or None.
        volume: the volume that it is a slice of, or None for a file of its own.
    """

    name: str
    split: str | None
    tumour_class: str | None
    width: int
    height: int
    format: str
    mode: str
    depth_bits: int
    colour_chained: bool
    colour_strict: bool
    sharpness: float
    mean_gray: float
    contrast: float
    n_letters: int
    pixel_hash: str
    plane: str | None = None
    plane_confidence: float | None = None
    plane_source: str | None = None
    group: str | None = None
    volume: str | None = None

    @property
    def is_blurry(self) -> bool:
        """Whether the study would call it blurry."""
        return self.sharpness < BLUR_VARIANCE

    def record(self) -> dict[str, Any]:
        """The measurement as JSON."""
        return dict(vars(self))

    def hashed(self) -> HashedImage:
        """The measurement as the search for copies sees it; a blank image is nobody's copy."""
        pixel_hash = self.pixel_hash if self.contrast >= LEAST_CONTRAST else f"blank {self.name}"
        return HashedImage(self.name, self.split, self.tumour_class, pixel_hash, self.group, self.volume)


def laplacian_variance(pixels_u8: NDArray[np.uint8]) -> float:
    """Variance of the 4-neighbour Laplacian (OpenCV, aperture 1), in squared gray levels; low is blurry.

    Pech-Pacheco et al. 2000 (doi:10.1109/ICPR.2000.903548); the study's measure (study 1.1).

    Warning: it grows with noise and with reduction, so compare images of one size only.

    Args:
        pixels_u8: (H, W) uint8, gray levels 0..255.
    """
    # Integers up to 4 * 255 are exact in 16 bits, which is faster than the study's CV_64F and gives the same variance.
    _, deviation = cv2.meanStdDev(cv2.Laplacian(pixels_u8, cv2.CV_16S))
    return float(deviation[0, 0] ** 2)


def measure(image: GrayImage, name: str, split: str | None, tumour_class: str | None) -> Measurement:
    """What is known of one decoded image."""
    facts = image.facts
    mean, deviation = cv2.meanStdDev(image.pixels_u8)
    return Measurement(
        name=name,
        split=split,
        tumour_class=tumour_class,
        width=facts.width,
        height=facts.height,
        format=facts.format,
        mode=facts.mode,
        depth_bits=facts.depth_bits,
        colour_chained=facts.colour_chained,
        colour_strict=facts.colour_strict,
        sharpness=round(laplacian_variance(image.pixels_u8), 4),
        mean_gray=round(float(mean[0, 0]), 4),
        contrast=round(float(deviation[0, 0]), 4),
        n_letters=count_letters(image.pixels_u8),
        pixel_hash=hash_pixels(image.pixels_u8),
    )


def count_by_class(pairs: Iterable[tuple[str | None, str | None]]) -> Counts:
    """Number of images by split and class, from (split, class) pairs; unlabelled ones count as `unknown`."""
    counts: Counts = {}
    for split, tumour_class in pairs:
        row = counts.setdefault(split or UNKNOWN, {})
        row[tumour_class or UNKNOWN] = row.get(tumour_class or UNKNOWN, 0) + 1
    return {split: dict(sorted(row.items())) for split, row in sorted(counts.items(), reverse=True)}


def count_where(images: Sequence[Measurement], test: Callable[[Measurement], bool]) -> Counts:
    """Number of images that pass a test, by split and class."""
    return count_by_class((image.split, image.tumour_class) for image in images if test(image))


def summarise_sizes(images: Sequence[Measurement], n_common: int = 10) -> dict[str, Any]:
    """Native sizes by split; W x H, pixels.

    For each split the distinct sizes and the most common ones; by class, square images and those within 10 % of square,
    of all images and of those left once equal pixels are counted once; and each class's share of the set's most common
    size, which a classifier can use as a shortcut.
    """
    commonest = commonest_size(images)
    summary: dict[str, Any] = {}
    for split, members in _by_split(images).items():
        sizes = Counter((image.width, image.height) for image in members)
        common = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:n_common]
        distinct = list({image.pixel_hash: image for image in reversed(members)}.values())
        summary[split] = {
            "distinct": len(sizes),
            "square": sum(n for (width, height), n in sizes.items() if width == height),
            "most_common": [{"width": width, "height": height, "n": n} for (width, height), n in common],
            "square_by_class": {"all": _count_square(members), "without_copies": _count_square(distinct)},
            "within_10_percent_by_class": {
                "all": _count_square(members, nearly=True),
                "without_copies": _count_square(distinct, nearly=True),
            },
            "commonest_share_by_class": share_by_class(members, lambda image: (image.width, image.height) == commonest),
        }
    return summary


def commonest_size(images: Sequence[Measurement]) -> tuple[int, int] | None:
    """The width and height, pixels, that most images have; the smaller of two equally common ones."""
    sizes = Counter((image.width, image.height) for image in images)
    return min(sizes, key=lambda size: (-sizes[size], size), default=None)


def share_by_class(images: Sequence[Measurement], test: Callable[[Measurement], bool]) -> dict[str, float]:
    """The share, 0..1, of each class's images that pass a test; unlabelled images are a class of their own."""
    totals = Counter(image.tumour_class or UNKNOWN for image in images)
    hits = Counter(image.tumour_class or UNKNOWN for image in images if test(image))
    return {tumour_class: round(hits[tumour_class] / n, 4) for tumour_class, n in sorted(totals.items())}


def count_planes(images: Iterable[Measurement]) -> dict[str, Counts]:
    """Number of images by split, class and plane; unknown ones count as `unknown`."""
    cells = Counter((i.split or UNKNOWN, i.tumour_class or UNKNOWN, i.plane or UNKNOWN) for i in images)
    counts: dict[str, Counts] = {split: {} for split in sorted({split for split, _, _ in cells}, reverse=True)}
    for (split, tumour_class, plane), n in sorted(cells.items()):
        counts[split].setdefault(tumour_class, {})[plane] = n
    return counts


def is_unsure(image: Measurement) -> bool:
    """Whether the image's plane was found, but with low confidence."""
    return image.plane_confidence is not None and image.plane_confidence < LEAST_CONFIDENCE


def _by_split(images: Sequence[Measurement]) -> dict[str, list[Measurement]]:
    groups: dict[str, list[Measurement]] = {}
    for image in images:
        groups.setdefault(image.split or UNKNOWN, []).append(image)
    return dict(sorted(groups.items(), reverse=True))


def _count_square(images: Sequence[Measurement], *, nearly: bool = False) -> dict[str, int]:
    """By class, images of equal sides, or of sides within 10 % of each other (study 2.1, step 2)."""
    counts = {image.tumour_class or UNKNOWN: 0 for image in images}
    for image in images:
        fits = is_nearly_square(image.width, image.height) if nearly else image.width == image.height
        counts[image.tumour_class or UNKNOWN] += fits
    return dict(sorted(counts.items()))


def summarise_levels(images: Sequence[Measurement]) -> dict[str, dict[str, dict[str, float]]]:
    """Mean gray level (0..255) and median Laplacian variance by split and class."""
    groups: dict[tuple[str, str], list[Measurement]] = {}
    for image in images:
        groups.setdefault((image.split or UNKNOWN, image.tumour_class or UNKNOWN), []).append(image)
    summary: dict[str, dict[str, dict[str, float]]] = {}
    for (split, tumour_class), members in sorted(groups.items()):
        summary.setdefault(split, {})[tumour_class] = {
            "mean_gray": round(float(np.mean([member.mean_gray for member in members])), 2),
            "median_sharpness": round(float(np.median([member.sharpness for member in members])), 2),
        }
    return summary


def analyse(images: Sequence[Measurement]) -> dict[str, Any]:
    """Everything the report says of the raw images one by one, as JSON; copies are `leakage`'s."""
    return {
        "counts": count_by_class((image.split, image.tumour_class) for image in images),
        "sizes": summarise_sizes(images),
        "colour": {
            "chained": count_where(images, lambda image: image.colour_chained),
            "strict": count_where(images, lambda image: image.colour_strict),
        },
        "blur": {
            "threshold": BLUR_VARIANCE,
            "blurry": count_where(images, lambda image: image.is_blurry),
            "not_blurry": count_where(images, lambda image: not image.is_blurry),
        },
        "levels": summarise_levels(images),
        "modes": dict(Counter(f"{image.format} {image.mode}" for image in images).most_common()),
        "constant_images": [image.name for image in images if image.contrast < LEAST_CONTRAST],
    }
