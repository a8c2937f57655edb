"""What becomes of a drawn image: a PNG the right way up, or the study's mirrored JPEG."""

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from services.generator.images import ImageU8, encode_png, enlarge_image
from services.generator.sampling.study_output import to_study_jpeg

Output = Literal["png", "study"]
ENDINGS: Final[dict[Output, str]] = {"png": "png", "study": "jpg"}
ImageUnit = NDArray[np.float32]


def encode_drawing(drawn: ImageUnit, *, transposed: bool, output: Output, size_px: int) -> bytes:
    """The file of one image.

    Args:
        drawn: (S, S) float32, nominally in [0, 1], rows and columns as the network drew them.
        transposed: whether the network was trained on transposed images, as the study's was.
        output: `png` turns them back, rounds to 8 bits and enlarges to `size_px`; `study` is `to_study_jpeg`.
        size_px: side of the PNG, pixels.
    """
    upright = drawn.T if transposed else drawn
    if output == "study":
        return to_study_jpeg(np.ascontiguousarray(upright.T))
    return encode_png(enlarge_image(round_unit(upright), size_px))


def round_unit(image_unit: ImageUnit) -> ImageU8:
    """`image_unit`, (H, W) float32, nominally in [0, 1], as uint8 gray levels; values outside are clipped."""
    return np.clip(np.rint(image_unit * 255), 0, 255).astype(np.uint8)
