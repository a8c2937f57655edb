"""Gray images on their way into and out of a diffusion model: decode, check, resize, encode; no torch, for the api."""

import io
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.generator.models.preset import Preset
from shared.errors import InvalidInput

ImageU8 = NDArray[np.uint8]

MIN_IMAGES: Final = 8
"""Below this many images a model can only repeat them; even a trial needs more (the study used 534 to 653 a class)."""


class TooFewImages(InvalidInput):
    """Fewer images than a model can learn from."""


class ConstantImages(InvalidInput):
    """Images of one gray level throughout; they hold nothing to learn and point to a fault upstream."""


class WrongImageSize(InvalidInput):
    """The images do not have the size the network is made for."""


def check_images(images_u8: ImageU8, size_px: int, names: list[str] | None = None) -> None:
    """Return if `images_u8`, (N, H, W) uint8, can be trained on; `names` are the images' names, for the sentence.

    Raises:
        TooFewImages, ConstantImages, WrongImageSize: before any update is spent on them.
    """
    n_images = len(images_u8)
    check_count(n_images, "the training images")
    if images_u8.shape[1:] != (size_px, size_px):
        height, width = images_u8.shape[1:]
        raise WrongImageSize(f"The images are {width} x {height} px, the network takes {size_px} x {size_px} px.")
    flat = images_u8.reshape(n_images, -1)
    constant = np.flatnonzero(flat.min(axis=1) == flat.max(axis=1))
    if constant.size:
        named = ", ".join(names[i] if names else f"image {i}" for i in constant[:3])
        raise ConstantImages(
            f"{constant.size} of {n_images} images have one gray level throughout ({named}); remove them from the set.",
            count=int(constant.size),
        )


def check_count(n_images: int, what: str) -> None:
    """Return if `n_images` are enough to train on; `what` names them in the sentence.

    Raises:
        TooFewImages: with the count and the minimum.
    """
    if n_images < MIN_IMAGES:
        raise TooFewImages(
            f"Too few images to train on: {what} number {n_images}; {MIN_IMAGES} are the least, some hundreds better.",
            count=n_images,
            minimum=MIN_IMAGES,
        )


def decode_gray(data: bytes) -> ImageU8:
    """The image in `data` (PNG or JPEG) as (H, W) uint8 gray levels, rows from top to bottom as stored."""
    with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
        return np.asarray(image.convert("L"), dtype=np.uint8)


def encode_png(image_u8: ImageU8) -> bytes:
    """`image_u8`, (H, W) uint8, as a gray PNG without time stamps, so that equal images give equal bytes."""
    stream = io.BytesIO()
    Image.fromarray(image_u8).save(stream, format="PNG")
    return stream.getvalue()


def shrink_image(image_u8: ImageU8, size_px: int, method: Literal["bilinear", "area"]) -> ImageU8:
    """`image_u8`, (H, W) uint8, at `size_px` x `size_px`, uint8.

    `area` averages all source pixels. `bilinear` mixes the four nearest without smoothing first, as OpenCV's default
    does, which the study used; at a factor of two, its 256 to 128 pixels, the two agree.
    """
    weigh = _overlap_weights if method == "area" else _neighbour_weights
    rows, columns = (weigh(side, size_px) for side in image_u8.shape)
    return np.floor(rows @ image_u8 @ columns.T + 0.5).astype(np.uint8)  # OpenCV rounds halves up.


def prepare_image(image_u8: ImageU8, preset: Preset) -> ImageU8:
    """`image_u8`, (H, W) uint8, as the network of `preset` learns it: resized, through JPEG, transposed, in this order.

    The order of the study (3.1), whose files were resized and saved before a reader transposed them.
    """
    small = shrink_image(image_u8, preset.size_px, preset.resize)
    if preset.jpeg_quality is not None:
        small = pass_through_jpeg(small, preset.jpeg_quality)
    return np.ascontiguousarray(small.T) if preset.transpose else small


def pass_through_jpeg(image_u8: ImageU8, quality: int) -> ImageU8:
    """`image_u8`, (H, W) uint8, saved as a gray JPEG and read again.

    A gray image saved in colour, as the study's were, has the same luminance and nothing in its chrominance.
    """
    stream = io.BytesIO()
    Image.fromarray(image_u8).save(stream, format="JPEG", quality=quality)
    return decode_gray(stream.getvalue())


def _overlap_weights(n_in: int, n_out: int) -> NDArray[np.float64]:
    """(n_out, n_in): which share of output pixel i each input pixel j covers, both as intervals of the same line."""
    edges = np.arange(n_out + 1)[:, None] * n_in / n_out
    covered = np.clip(edges - np.arange(n_in), 0, 1)  # length of input pixel j left of edge i
    shares: NDArray[np.float64] = (covered[1:] - covered[:-1]) * n_out / n_in
    return shares


def _neighbour_weights(n_in: int, n_out: int) -> NDArray[np.float64]:
    """(n_out, n_in): linear interpolation between pixel centres, clamped at the border, as OpenCV's INTER_LINEAR."""
    position = np.clip((np.arange(n_out) + 0.5) * n_in / n_out - 0.5, 0, n_in - 1)
    weights: NDArray[np.float64] = np.clip(1 - np.abs(position[:, None] - np.arange(n_in)), 0, 1)
    return weights


def enlarge_image(image_u8: ImageU8, size_px: int) -> ImageU8:
    """`image_u8`, (H, W) uint8, at `size_px` x `size_px`, uint8, by cubic interpolation; itself if it has that size."""
    if image_u8.shape == (size_px, size_px):
        return image_u8
    return np.asarray(Image.fromarray(image_u8).resize((size_px, size_px), Image.Resampling.BICUBIC))
