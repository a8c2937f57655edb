"""The steps in their order: read, rotate, mirror, correct, equalise, match, make square, resize, encode.

The same steps serve a whole set and a single image that somebody wants classified.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from services.preprocess.bias_field import remove_bias_field
from services.preprocess.draws import NO_DRAW, Draw
from services.preprocess.geometry import fit_square, is_nearly_square, mirror, resize, rotate
from services.preprocess.intensity import equalise_adaptively, match_levels
from services.preprocess.reading import MAX_PIXELS, MIN_SIDE_PX, read_gray
from services.preprocess.recipe import Recipe

POOLED = "pooled"
_JPEG_QUALITY = 95  # OpenCV's default, which the study used (study 2.1, step 8)


@dataclass(frozen=True)
class PreparedImage:
    """An image after the recipe.

    Attributes:
        pixels_u8: (size_px, size_px) uint8, gray levels 0..255.
        parameters: what was applied to this image, enough to explain and replay it.
    """

    pixels_u8: NDArray[np.uint8]
    parameters: dict[str, Any]


def prepare_pixels(
    pixels_u8: NDArray[np.uint8],
    recipe: Recipe,
    draw: Draw = NO_DRAW,
    tumour_class: str | None = None,
    *,
    turned: bool = False,
) -> PreparedImage:
    """The image turned as drawn, its levels adjusted, square and at the recipe's size.

    Nothing is dropped here. Under `study_square` an image within 10 % of square is squeezed, as the study did with
    notumor; one further off, which the study never saw, is padded instead of distorted.

    Args:
        pixels_u8: (H, W) uint8, gray levels 0..255, at native size.
        recipe: what to do.
        draw: what chance does to this image.
        tumour_class: its class, for histogram matching by class; None uses the pooled reference.
        turned: whether the pixels are rotated already, together with others; see `rotation`.
    """
    height, width = pixels_u8.shape
    parameters: dict[str, Any] = {"native_width": width, "native_height": height, **draw.record()}
    if draw.rotation_deg and not turned:
        pixels_u8 = rotate(pixels_u8, draw.rotation_deg)
    if draw.flip_horizontal or draw.flip_vertical:
        pixels_u8 = mirror(pixels_u8, horizontal=draw.flip_horizontal, vertical=draw.flip_vertical)
    pixels_u8, adjusted = _adjust_levels(pixels_u8, recipe, tumour_class)
    parameters |= adjusted
    squeezes = recipe.size_rule == "none" or (recipe.size_rule == "study_square" and is_nearly_square(width, height))
    if width == height or squeezes:
        prepared = resize(pixels_u8, recipe.size_px, recipe.size_px, recipe.interpolation)
        parameters["square"] = "native" if width == height else "squeezed"
    else:
        prepared, parameters["pad_level"] = fit_square(pixels_u8, recipe.size_px, recipe.interpolation)
        parameters["square"] = "padded"
    return PreparedImage(prepared, parameters)


def _adjust_levels(
    pixels_u8: NDArray[np.uint8], recipe: Recipe, tumour_class: str | None
) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """The image after bias field correction, CLAHE and histogram matching, and a record of what was applied."""
    applied: dict[str, Any] = {}
    if recipe.bias_field is not None:
        pixels_u8 = remove_bias_field(pixels_u8, recipe.bias_field.shrink, recipe.bias_field.iterations)
        applied["bias_field"] = recipe.bias_field.model_dump(mode="json")
    if recipe.clahe is not None:
        pixels_u8 = equalise_adaptively(pixels_u8, recipe.clahe.clip_limit, recipe.clahe.tile)
        applied["clahe"] = recipe.clahe.model_dump()
    matching = recipe.histogram_matching
    if matching is not None and matching.references:
        wanted = (tumour_class or "unknown") if matching.reference == "by_class" else POOLED
        used = wanted if wanted in matching.references else POOLED
        pixels_u8 = match_levels(pixels_u8, np.array(matching.references[used]))
        applied["histogram_matching"] = used
    return pixels_u8, applied


def encode_image(pixels_u8: NDArray[np.uint8], recipe: Recipe) -> bytes:
    """The file that is stored: JPEG of quality 95, or PNG without loss.

    Args:
        pixels_u8: (H, W) uint8, gray levels 0..255.
        recipe: names the encoding.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if recipe.encoding == "jpeg95" else []
    written, encoded = cv2.imencode(recipe.extension, pixels_u8, options)
    if not written:
        raise RuntimeError(f"OpenCV did not encode {pixels_u8.shape} as {recipe.extension}")
    return bytes(encoded)


def prepare_image(
    data: bytes,
    recipe: dict[str, Any] | Recipe,
    *,
    max_pixels: int = MAX_PIXELS,
    min_side_px: int = MIN_SIDE_PX,
) -> NDArray[np.uint8]:
    """The pixels this file has in a set preprocessed by this recipe, after its encoding too.

    Nothing is drawn, and an image is never dropped here, whatever its proportions; see `prepare_pixels`. Where the
    recipe matches histograms, it must hold the references of the set it was used for.

    Args:
        data: an image file; see `reading`.
        recipe: a recipe, or the object stored in the manifest of a preprocessed set.
        max_pixels: images of more pixels are refused before decoding.
        min_side_px: images with a shorter side are refused.

    Returns:
        (size_px, size_px) uint8, gray levels 0..255.

    Raises:
        InvalidRecipe: the recipe cannot be followed.
        UnreadableImage, UnsupportedImage, ImageTooLarge, ImageTooSmall: the file cannot be used; see `reading`.
    """
    chosen = Recipe.parse(recipe)
    image = read_gray(data, max_pixels=max_pixels, min_side_px=min_side_px)
    prepared = prepare_pixels(image.pixels_u8, chosen).pixels_u8
    if chosen.encoding == "png":
        return prepared
    stored = cv2.imdecode(np.frombuffer(encode_image(prepared, chosen), dtype=np.uint8), cv2.IMREAD_GRAYSCALE)
    return np.asarray(stored, dtype=np.uint8)
