"""Stored image bytes to gray arrays of one size."""

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidInput
from shared.orientation import turn_upright

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFile import ImageFile

SizePx = tuple[int, int]
"""(width, height) in pixels."""

READABLE = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
"""Formats that Pillow is allowed to try; everything else is refused unread."""


@dataclass(frozen=True)
class Reading:
    """How a stored image becomes pixels for an extractor.

    Attributes:
        size_px: width and height wanted.
        nearest: take the nearest pixel where the size differs, as the study did; otherwise antialiased bilinear.
    """

    size_px: SizePx
    nearest: bool = False

    @property
    def name(self) -> str:
        """Short text that two readings share only where they give the same pixels."""
        return f"{self.size_px[0]}x{self.size_px[1]}" + ("-nearest" if self.nearest else "")


_BITS_PER_SAMPLE = 258
"""Tag of a TIFF file: TIFF 6.0, section 8."""

GRAY_TOLERANCE = 16
"""By how many gray levels the channels of a gray image may differ: what JPEG leaves of a gray image kept as RGB."""


class ImageUnreadable(InvalidInput):
    """A stored image cannot be decoded."""


class MoreThanEightBits(ImageUnreadable):
    """A stored image has 16-bit or float samples, which no extractor takes."""


class ColourImages(InvalidInput):
    """A stored image has colours, and no rule says what gray level they stand for."""


class ConstantImages(InvalidInput):
    """All images of one side are without any contrast."""


class SizesDiffer(InvalidInput):
    """The images have several pixel sizes and the request refuses resizing."""


def read_gray(data: bytes, name: str, reading: Reading | SizePx) -> NDArray[np.uint8]:
    """One gray image, turned as its orientation tag says.

    Args:
        data: the file's bytes, in a format of `READABLE`.
        name: what the image is called in an error.
        reading: how it is read; a size alone means antialiased bilinear interpolation.

    Returns:
        (height, width) uint8 in 0..255; an RGB image gives its one gray level, transparency is left out.

    Raises:
        ImageUnreadable: the bytes do not decode.
        MoreThanEightBits: gray levels or colours beyond 0..255.
        ColourImages: the channels of a pixel differ by more than `GRAY_TOLERANCE`.
    """
    from PIL import Image

    wanted = reading if isinstance(reading, Reading) else Reading(reading)
    try:
        with Image.open(io.BytesIO(data), formats=READABLE) as stored:
            # Pillow would clip 16-bit and float gray levels at 255 without a word, and cut 16-bit colours to 8.
            if stored.mode.startswith(("I", "F")) or _is_deep(stored):
                raise MoreThanEightBits(
                    f"The image {name!r} has more than 8 bits per sample; preprocess the set first."
                )
            gray = _one_channel(turn_upright(stored), name)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageUnreadable(f"The image {name!r} cannot be decoded: {error}") from error
    return np.array(fit_size(gray, wanted), dtype=np.uint8)


def _is_deep(stored: "ImageFile") -> bool:
    """Whether the file of an image not yet decoded has more than 8 bits per sample, which its mode does not tell."""
    if stored.format == "TIFF":
        return int(max(getattr(stored, "tag_v2", {}).get(_BITS_PER_SAMPLE, (1,)))) > 8
    # Pillow's name of the stored samples: "RGB;16B" of a PNG of 16 bits. A BMP's "BGR;16" has 16 for all three.
    return stored.format == "PNG" and any(";16" in str(tile.args) for tile in stored.tile)


def fit_size(gray: "Image.Image", wanted: Reading) -> "Image.Image":
    """A gray image at the size wanted, itself if it has that."""
    from PIL import Image

    if gray.size == wanted.size_px:
        return gray
    return gray.resize(wanted.size_px, Image.Resampling.NEAREST if wanted.nearest else Image.Resampling.BILINEAR)


def _one_channel(image: "Image.Image", name: str) -> "Image.Image":
    """The image in mode L (ITU-R 601-2 luma), if its channels agree in every pixel."""
    if image.mode in ("1", "L", "LA", "La"):
        return image.convert("L")
    channels = np.asarray(image.convert("RGB"))
    spread = int((channels.max(axis=2) - channels.min(axis=2)).max())
    if spread > GRAY_TOLERANCE:
        raise ColourImages(
            f"The image {name!r} is in colour: its channels differ by up to {spread} gray levels. Preprocess the set "
            "first, which makes it gray by one rule, or leave the image out.",
            image=name,
        )
    return image.convert("L")


def require_contrast(side: str, n_constant: int, n: int) -> None:
    """Refuse a side whose images are all constant: their features tell of nothing but a gray level.

    Raises:
        ConstantImages: `n_constant` of `n` images, all of them, have one gray level each.
    """
    if n_constant == n:
        raise ConstantImages(
            f"All {n} {side} images are constant: each has one gray level in every pixel. Look at the set with "
            "GET /image-sets/{id}/grid.png; a generator that gives such images has failed."
        )


def require_one_size(sizes_px: Iterable[SizePx]) -> None:
    """Refuse images of several sizes.

    Raises:
        SizesDiffer: names the sizes.
    """
    counts = Counter(sizes_px)
    if len(counts) > 1:
        named = ", ".join(f"{n} of {width} x {height}" for (width, height), n in counts.most_common(4))
        raise SizesDiffer(
            f"The images have {len(counts)} pixel sizes ({named} px). Preprocess both sets to one size, or ask for "
            "resize=allow, which resizes to the commonest size of the real images and says so."
        )


def common_size(reference_sizes_px: Sequence[SizePx], other_sizes_px: Iterable[SizePx]) -> tuple[SizePx, int]:
    """The size most real images have, and how many images of both sides must be resized to it.

    The real images set the size: shrinking them to small synthetic images would hide the detail that those lack.

    Args:
        reference_sizes_px: width and height of each real image, at least one.
        other_sizes_px: width and height of each synthetic image.
    """
    counts = Counter(reference_sizes_px)
    # Of equally frequent sizes the larger one, so that the choice does not depend on the order of the images.
    size = max(counts, key=lambda candidate: (counts[candidate], candidate))
    n_resized = sum(other != size for other in (*reference_sizes_px, *other_sizes_px))
    return size, n_resized
