"""How sharp real images are at the size of the synthetic ones: what of a lack of detail is size, and what the model."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.evaluator.audit.images import AuditImages
from services.evaluator.features.reading import Reading, SizePx, fit_size


def stored_size(images: AuditImages) -> SizePx | None:
    """Width and height in pixels at which most images are stored, if they were enlarged from it; else None."""
    (((width, height), n),) = Counter((file.width, file.height) for file in images.files).most_common(1)
    _, compared_height, compared_width = images.images_u8.shape
    enlarged = width < compared_width and height < compared_height
    return (width, height) if enlarged and 2 * n > len(images.files) else None


def reduce_and_enlarge(image_u8: NDArray[np.uint8], size_px: SizePx) -> NDArray[np.uint8]:
    """An image reduced to `size_px` and brought back as the reading of stored images does.

    Args:
        image_u8: (h, w) uint8, gray levels 0..255.
        size_px: width and height to go through; each reduced pixel is the mean of those it covers.

    Returns:
        (h, w) uint8.
    """
    image = Image.fromarray(image_u8)
    reduced = image.resize(size_px, Image.Resampling.BOX)
    return np.asarray(fit_size(reduced, Reading(image.size)), dtype=np.uint8)
