"""What a set of images is like: counts, sizes, colour, blur and gray levels, as plain numbers."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from services.preprocess.duplicates import DuplicateGroup, HashedImage, Leak, find_duplicates, find_leaks, hash_pixels
from services.preprocess.reading import GrayImage

BLUR_VARIANCE = 50.0  # study 1.1: Laplacian variance below 50 is blurry
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
        pixel_hash: hash of the decoded gray pixels.
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
    pixel_hash: str

    @property
    def is_blurry(self) -> bool:
        """Whether the study would call it blurry."""
        return self.sharpness < BLUR_VARIANCE

    def record(self) -> dict[str, Any]:
        """The measurement as JSON."""
        return asdict(self)

    def hashed(self) -> HashedImage:
        """The measurement as the search for duplicates sees it."""
        return HashedImage(self.name, self.split, self.tumour_class, self.pixel_hash)


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
        mean_gray=round(float(cv2.mean(image.pixels_u8)[0]), 4),
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
    """Distinct native sizes and the most common ones by split; W x H, pixels."""
    summary: dict[str, Any] = {}
    for split in sorted({image.split or UNKNOWN for image in images}, reverse=True):
        sizes = Counter((image.width, image.height) for image in images if (image.split or UNKNOWN) == split)
        common = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:n_common]
        summary[split] = {
            "distinct": len(sizes),
            "square": sum(n for (width, height), n in sizes.items() if width == height),
            "most_common": [{"width": width, "height": height, "n": n} for (width, height), n in common],
        }
    return summary


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


def summarise_duplicates(groups: Sequence[DuplicateGroup], leaks: Sequence[Leak]) -> dict[str, Any]:
    """Groups and surplus images by split, groups of more than one class, and Testing images that occur in Training."""
    by_split: dict[str, dict[str, int]] = {}
    for group in groups:
        row = by_split.setdefault(group.split or UNKNOWN, {"groups": 0, "surplus": 0})
        row["groups"] += 1
        row["surplus"] += len(group.removed)
    return {
        "by_split": by_split,
        "label_conflicts": [[group.kept, *group.removed] for group in groups if len(group.classes) > 1],
        "testing_in_training": [asdict(leak) for leak in leaks],
    }


def analyse(images: Sequence[Measurement]) -> dict[str, Any]:
    """Everything the report says of the raw images, as JSON."""
    hashed = [image.hashed() for image in images]
    return {
        "counts": count_by_class((image.split, image.tumour_class) for image in images),
        "sizes": summarise_sizes(images),
        "colour": {
            "chained": count_where(images, lambda image: image.colour_chained),
            "strict": count_where(images, lambda image: image.colour_strict),
        },
        "blur": {"threshold": BLUR_VARIANCE, "blurry": count_where(images, lambda image: image.is_blurry)},
        "levels": summarise_levels(images),
        "modes": dict(Counter(f"{image.format} {image.mode}" for image in images).most_common()),
        "duplicates": summarise_duplicates(find_duplicates(hashed), find_leaks(hashed)),
    }
