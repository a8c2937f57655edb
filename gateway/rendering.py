"""Stored images as a browser can show them: 8-bit PNGs, thumbnails and contact sheets."""

import io
import math
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import numpy as np
from PIL import Image

from gateway.upload.images import FORMATS
from shared.orientation import turn_upright

_GAP_PX: Final = 2
_WINDOW_PERCENTILES: Final = (0.5, 99.5)

T = TypeVar("T")


def to_png(data: bytes, px: int | None) -> bytes:
    """The image in `data` as an 8-bit PNG without metadata, its longer side at most `px` pixels."""
    return _encode(_open_8_bit(data, px))


def contact_sheet(images: Sequence[T], read: Callable[[T], bytes], px: int) -> bytes:
    """One PNG with all `images` in a near-square grid of gray cells, each `px` pixels wide and high.

    Args:
        read: the bytes of one of the images; no other image's are held meanwhile.
    """
    columns = max(1, math.ceil(math.sqrt(len(images))))
    rows = max(1, math.ceil(len(images) / columns))
    sheet = Image.new("L", (columns * (px + _GAP_PX) - _GAP_PX, rows * (px + _GAP_PX) - _GAP_PX), 0)
    for index, image in enumerate(images):
        cell = _open_8_bit(read(image), px).convert("L")
        left = (index % columns) * (px + _GAP_PX) + (px - cell.width) // 2
        top = (index // columns) * (px + _GAP_PX) + (px - cell.height) // 2
        sheet.paste(cell, (left, top))
    return _encode(sheet)


def _open_8_bit(data: bytes, px: int | None) -> Image.Image:
    """The decoded image, upright, in mode L or RGB, shrunk or enlarged so that its longer side is `px`."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
        if px is not None:
            opened.draft(None, (px, px))  # a JPEG decoder can halve while it decodes
        image = turn_upright(opened)
        image = _windowed(image) if image.mode.startswith(("I", "F")) else image
        image = image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")
    if px is None or max(image.size) == px:
        return image
    scale = px / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC)


def _windowed(image: Image.Image) -> Image.Image:
    """A 16-bit, 32-bit or float image as 8 bits: linear between two percentiles, as a radiology viewer opens it.

    Scanner values rarely use their whole range, so dividing by 256 would show a black square.
    """
    values = np.asarray(image, dtype=np.float32)  # (H, W) float32, scanner values
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, _WINDOW_PERCENTILES) if finite.size else (0.0, 1.0)
    unit = np.nan_to_num((values - low) / max(float(high - low), 1e-6))  # (H, W) float32, 0 at low and 1 at high
    return Image.fromarray((np.clip(unit, 0.0, 1.0) * 255.0).round().astype(np.uint8))


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()
