"""What is kept of every image while the whole set is looked at: small arrays instead of pixels."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.preprocess.intensity import count_levels
from services.preprocess.near_duplicates import THUMBNAIL_PX, make_thumbnail
from services.preprocess.plane_features import plane_features


@dataclass(frozen=True)
class ImageFeatures:
    """One image.

    Attributes:
        thumbnail_u8: (64, 64) uint8, for near-duplicates.
        histogram: (256,) uint32, pixels at each gray level.
        plane: (D,) float32, for the imaging plane.
    """

    thumbnail_u8: NDArray[np.uint8]
    histogram: NDArray[np.uint32]
    plane: NDArray[np.float32]


@dataclass(frozen=True)
class FeatureTable:
    """All images of a set, row by row; thumbnails are a memory map, since they are the largest.

    Attributes:
        thumbnails_u8: (N, 64, 64) uint8.
        histograms: (N, 256) uint32.
        planes: (N, D) float32.
    """

    thumbnails_u8: NDArray[np.uint8]
    histograms: NDArray[np.uint32]
    planes: NDArray[np.float32]


def describe(pixels_u8: NDArray[np.uint8]) -> ImageFeatures:
    """The features of one image.

    Args:
        pixels_u8: (H, W) uint8, gray levels 0..255.
    """
    histogram = count_levels(pixels_u8).astype(np.uint32)
    return ImageFeatures(make_thumbnail(pixels_u8), histogram, plane_features(pixels_u8))


def pack(features: Sequence[ImageFeatures]) -> bytes:
    """The features of one shard as the bytes of an .npz file."""
    buffer = io.BytesIO()
    n_plane = len(features[0].plane) if features else 0
    np.savez(
        buffer,
        thumbnails=np.stack([f.thumbnail_u8 for f in features])
        if features
        else np.zeros((0, THUMBNAIL_PX, THUMBNAIL_PX), np.uint8),
        histograms=np.stack([f.histogram for f in features]) if features else np.zeros((0, 256), np.uint32),
        planes=np.stack([f.plane for f in features]) if features else np.zeros((0, n_plane), np.float32),
    )
    return buffer.getvalue()


def unpack(shards: Iterable[bytes], n_images: int, folder: Path) -> FeatureTable:
    """The features of all shards, in their order.

    Args:
        shards: as `pack` made them; read one at a time.
        n_images: rows in all.
        folder: where the memory map is written; it must outlive the table.
    """
    shape = (max(n_images, 1), THUMBNAIL_PX, THUMBNAIL_PX)
    thumbnails = np.lib.format.open_memmap(folder / "thumbnails.npy", mode="w+", dtype=np.uint8, shape=shape)
    histograms: list[NDArray[np.uint32]] = []
    planes: list[NDArray[np.float32]] = []
    row = 0
    for data in shards:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            block = arrays["thumbnails"]
            thumbnails[row : row + len(block)] = block
            row += len(block)
            if len(block):
                histograms.append(arrays["histograms"])
                planes.append(arrays["planes"])
    if row != n_images:
        raise ValueError(f"the shards hold features of {row} images, not of {n_images}")
    if not n_images:
        return FeatureTable(thumbnails[:0], np.zeros((0, 256), np.uint32), np.zeros((0, 0), np.float32))
    return FeatureTable(thumbnails, np.concatenate(histograms), np.concatenate(planes))
