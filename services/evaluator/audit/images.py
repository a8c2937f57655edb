"""What an audit looks at: the images of one class, their planes, and what is known of their files."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from services.evaluator.features.reading import GRAY_TOLERANCE, READABLE, ColourImages, ImageUnreadable
from services.evaluator.metrics.samples import TooFewImages
from shared.errors import InvalidInput

_SUBSAMPLING: Final = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}  # what Pillow's get_sampling answers

# Luminance quantisation table of ITU-T T.81 (1992), table K.1, in rows, which libjpeg scales by its quality.
_LUMINANCE: Final = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)


class ConstantImages(InvalidInput):
    """An image has one gray level only, so that it correlates with nothing."""


class ImageSizesDiffer(InvalidInput):
    """The two sides were not brought to one size."""


@dataclass(frozen=True)
class FileFacts:
    """What a file says of itself, whatever its pixels show.

    Attributes:
        file_format: PNG, JPEG, ... as Pillow names it.
        mode: Pillow's mode of the stored pixels: L, RGB, ...
        width: stored width in pixels.
        height: stored height in pixels.
        n_bytes: size of the file in bytes.
        jpeg_quality: quality 1..100 at which libjpeg would write this quantisation table, or the nearest to it; None
            for other formats.
        native_width: width in pixels of the image that this one was made from, where known.
        native_height: its height in pixels, where known.
        chroma_subsampling: of a colour JPEG, for example 4:2:0; None for other files.
    """

    file_format: str
    mode: str
    width: int
    height: int
    n_bytes: int
    jpeg_quality: int | None = None
    native_width: int | None = None
    native_height: int | None = None
    chroma_subsampling: str | None = None


@dataclass(frozen=True)
class AuditImages:
    """Images of one class and one side: synthetic, reference (what a model was trained on) or baseline (fresh real).

    Attributes:
        names: n names.
        images_u8: (n, h, w) uint8, gray levels 0..255, all of one size.
        files: n facts.
        planes: n imaging planes, axial, coronal or sagittal; None where unknown.
    """

    names: list[str]
    images_u8: NDArray[np.uint8]
    files: list[FileFacts]
    planes: list[str | None]

    def __post_init__(self) -> None:
        n = len(self.names)
        if self.images_u8.ndim != 3 or not len(self.images_u8) == len(self.files) == len(self.planes) == n:
            shape = self.images_u8.shape
            raise ValueError(f"{n} names, {len(self.files)} files, {len(self.planes)} planes, images of shape {shape}")

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> "AuditImages":
        """The images of these rows, in this order."""
        chosen = [int(row) for row in rows]
        return AuditImages(
            [self.names[row] for row in chosen],
            self.images_u8[chosen],
            [self.files[row] for row in chosen],
            [self.planes[row] for row in chosen],
        )


def check_sides(synthetic: AuditImages, reference: AuditImages, baseline: AuditImages | None) -> None:
    """Refuse what no check could measure; every check calls this before any work.

    Raises:
        TooFewImages: a side has fewer than two images.
        ImageSizesDiffer: the sides differ in pixel size.
        ConstantImages: an image has no contrast.
    """
    sides = {"synthetic": synthetic, "reference": reference}
    if baseline is not None:
        sides["baseline"] = baseline
    for side, images in sides.items():
        if len(images) < 2:
            raise TooFewImages(f"The {side} side has {len(images)} image(s); an audit needs at least 2.", side=side)
        if images.images_u8.shape[1:] != reference.images_u8.shape[1:]:
            sizes = images.images_u8.shape[:0:-1], reference.images_u8.shape[:0:-1]
            raise ImageSizesDiffer(
                f"The {side} images are {sizes[0][0]} x {sizes[0][1]} pixels and the reference images {sizes[1][0]} x "
                f"{sizes[1][1]}; bring both to one size first."
            )
        flat = images.images_u8.reshape(len(images), -1)
        constant = np.flatnonzero(flat.max(axis=1) == flat.min(axis=1))
        if len(constant):
            names = [images.names[row] for row in constant[:5]]
            raise ConstantImages(
                f"{len(constant)} {side} image(s) have one gray level only, for example {names[0]!r}; exclude them.",
                side=side,
                images=names,
            )


def read_file_facts(data: bytes, name: str = "image") -> FileFacts:
    """What a stored image file says of itself.

    Args:
        data: the file's bytes, in a format of `READABLE`.
        name: what the image is called in an error.

    Raises:
        ImageUnreadable: the bytes do not decode.
        ColourImages: the channels of a pixel differ by more than `GRAY_TOLERANCE` gray levels.
    """
    try:
        with Image.open(io.BytesIO(data), formats=READABLE) as stored:
            facts = FileFacts(
                str(stored.format),
                stored.mode,
                stored.width,
                stored.height,
                len(data),
                jpeg_quality=_estimate_quality(stored),
                chroma_subsampling=_read_subsampling(stored),
            )
            spread = _channel_spread(stored)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageUnreadable(f"The image {name!r} cannot be decoded: {error}") from error
    if spread > GRAY_TOLERANCE:
        raise ColourImages(
            f"The image {name!r} has colours: channels differ by up to {spread} gray levels. Preprocess the set first.",
            image=name,
        )
    return facts


def _channel_spread(stored: Image.Image) -> int:
    """By how many gray levels the channels of a pixel differ at most."""
    if stored.mode in ("1", "L", "LA") or stored.mode.startswith(("I", "F")):
        return 0
    channels = np.asarray(stored.convert("RGB"))
    return int((channels.max(axis=2) - channels.min(axis=2)).max())


def _read_subsampling(stored: Image.Image) -> str | None:
    if not isinstance(stored, JpegImagePlugin.JpegImageFile) or stored.mode != "RGB":
        return None
    return _SUBSAMPLING.get(JpegImagePlugin.get_sampling(stored))


def _estimate_quality(stored: Image.Image) -> int | None:
    """The libjpeg quality whose luminance table is nearest to the file's; the highest of several."""
    tables = getattr(stored, "quantization", None)
    if not tables:
        return None
    luminance = np.array(tables[min(tables)]).reshape(8, 8)
    qualities = np.arange(100, 0, -1)
    distances = [np.abs(_scale_table(int(quality)) - luminance).sum() for quality in qualities]
    return int(qualities[int(np.argmin(distances))])


def _scale_table(quality: int) -> NDArray[np.int64]:
    """(8, 8) int64 steps 1..255 that libjpeg uses at a quality: jpeg_quality_scaling and jpeg_add_quant_table."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.asarray(np.clip((_LUMINANCE * percent + 50) // 100, 1, 255), np.int64)
