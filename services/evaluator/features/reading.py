"""Stored image bytes to gray arrays of one size."""

import io
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidInput
from shared.orientation import turn_upright

SizePx = tuple[int, int]
"""(width, height) in pixels."""

READABLE = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
"""Formats that Pillow is allowed to try; everything else is refused unread."""


class ImageUnreadable(InvalidInput):
    """A stored image cannot be decoded."""


def read_gray(data: bytes, name: str, size_px: SizePx) -> NDArray[np.uint8]:
    """One gray image, turned as its orientation tag says.

    Where its size differs from the one wanted, it is resized with antialiased bilinear interpolation.

    Args:
        data: the file's bytes, in a format of `READABLE`.
        name: what the image is called in an error.
        size_px: width and height wanted.

    Returns:
        (height, width) uint8 in 0..255; colour is turned into ITU-R 601-2 luma, as Pillow does.

    Raises:
        ImageUnreadable: the bytes do not decode, or hold more than 8 bits per pixel.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=READABLE) as stored:
            # Pillow would clip 16-bit and float gray levels at 255 without a word.
            if stored.mode.startswith(("I", "F")):
                raise ImageUnreadable(f"The image {name!r} has more than 8 bits per pixel; preprocess the set first.")
            gray = turn_upright(stored).convert("L")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageUnreadable(f"The image {name!r} cannot be decoded: {error}") from error
    if gray.size != size_px:
        gray = gray.resize(size_px, Image.Resampling.BILINEAR)
    return np.array(gray, dtype=np.uint8)


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
