"""Text burned into the pixels, such as a patient's name or the settings of the scanner, found by its shape.

Letters are small bright spots of one height, side by side on one line, in the dark margin around the head. Whether they
name anybody is for people to see: a hit means "look at this image".

Warning: no hit does not mean no text. Text over the head, text of one or two letters, and letters of fewer than five
pixels are not found.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

MIN_LETTERS: Final = 3
_LONGEST_SIDE_PX: Final = 1024
_HEAD_LEVEL: Final = 24
"""Gray levels above may belong to the head; the noise of JPEG around letters stays below."""
_LETTER_LEVEL: Final = 90
_MIN_HEIGHT_PX: Final = 5
_MIN_AREA_PX: Final = 6
_MAX_SPOTS: Final = 400
"""More bright spots than this are noise around the head."""


def count_letters(pixels_u8: NDArray[np.uint8]) -> int:
    """Letters in the longest line of text in the margin of an image; 0 where there are fewer than three.

    Args:
        pixels_u8: (H, W) uint8, gray levels 0..255, at native size: text does not survive a reduction.
    """
    height, width = pixels_u8.shape
    share = _LONGEST_SIDE_PX / max(height, width)
    if share < 1:
        size = (max(1, round(width * share)), max(1, round(height * share)))
        pixels_u8 = np.asarray(cv2.resize(pixels_u8, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    bright = np.asarray(cv2.threshold(pixels_u8, _LETTER_LEVEL, 255, cv2.THRESH_BINARY)[1], dtype=np.uint8)
    letters = bright & ~_head_mask(pixels_u8)
    if cv2.countNonZero(letters) < MIN_LETTERS * _MIN_AREA_PX:
        return 0
    spots = _letter_spots(letters, max_height_px=max(20, round(0.07 * pixels_u8.shape[0])))
    if len(spots) > _MAX_SPOTS:
        return 0
    longest = max((len(line) for spot in spots if _is_text(line := _line_from(spot, spots))), default=0)
    return longest if longest >= MIN_LETTERS else 0


def has_burned_text(pixels_u8: NDArray[np.uint8]) -> bool:
    """Whether the margin of the image (H, W) uint8, gray levels 0..255, has a line of three letters or more."""
    return count_letters(pixels_u8) >= MIN_LETTERS


def _head_mask(pixels_u8: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) uint8, 255 where the largest bright region is, with a rim of two pixels; found at half the size."""
    height, width = pixels_u8.shape
    bright = cv2.threshold(np.ascontiguousarray(pixels_u8[::2, ::2]), _HEAD_LEVEL, 255, cv2.THRESH_BINARY)[1]
    n, labels, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
    if n < 2:
        return np.zeros((height, width), dtype=np.uint8)
    head = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    mask = cv2.dilate((labels == head).astype(np.uint8) * 255, np.ones((3, 3), dtype=np.uint8))
    return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


def _letter_spots(letters: NDArray[np.uint8], max_height_px: int) -> NDArray[np.int32]:
    """Left, top, width and height (n, 4) of the spots that have the size and shape of a letter, from left to right."""
    left, top, width, height = cv2.boundingRect(letters)
    crop = np.ascontiguousarray(letters[top : top + height, left : left + width])
    stats = cv2.connectedComponentsWithStats(crop, connectivity=8)[2][1:]
    _, _, widths, heights, areas = stats.T
    fits = (heights >= _MIN_HEIGHT_PX) & (heights <= max_height_px) & (widths <= 1.6 * heights)
    solid = (areas >= _MIN_AREA_PX) & (areas >= 0.2 * widths * heights)
    spots = stats[fits & solid][:, :4]
    return np.asarray(spots[np.lexsort((spots[:, 1], spots[:, 0]))], dtype=np.int32)


def _line_from(first: NDArray[np.int32], spots: NDArray[np.int32]) -> NDArray[np.int32]:
    """The spots (n, 4) that follow `first` on its line: of its height, on its base line, gaps below 1.2 heights."""
    _, top, _, height = first
    alike = np.maximum(spots[:, 3], height) <= 1.35 * np.minimum(spots[:, 3], height)
    level = np.abs(spots[:, 1] + spots[:, 3] - (top + height)) <= 0.25 * height
    line = [first]
    for spot in spots[alike & level]:
        end = line[-1][0] + line[-1][2]
        if spot[0] < end - 2:
            continue
        if spot[0] - end > 1.2 * max(height, line[-1][3]):
            break
        line.append(spot)
    return np.asarray(line)


def _is_text(line: NDArray[np.int32]) -> bool:
    """Whether two spots at least are wider than the tick marks of a ruler."""
    return int(np.count_nonzero(line[:, 2] >= 0.35 * line[:, 3])) >= 2
