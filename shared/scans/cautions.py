"""What the sender should know of a scan that was accepted."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.scans.content import ScanWarning

_SQUARE: Final = 1.05


def dicom_warnings(kept: dict[str, Any], pixels: NDArray[np.uint8]) -> list[ScanWarning]:
    """Burned-in text, another modality than MR, and what `slice_warnings` finds.

    Args:
        kept: the technical tags by keyword.
        pixels: (H, W) uint8, gray levels 0..255.
    """
    found = []
    if kept.get("BurnedInAnnotation") == "YES":
        found.append(
            ScanWarning(
                "text_burned_in",
                "says that text is burned into its pixels (BurnedInAnnotation = YES), which may name the patient; "
                "look at it and remove it if it does.",
            )
        )
    if kept.get("Modality") != "MR":
        found.append(ScanWarning("scan_is_not_mr", f"is of modality {kept.get('Modality', 'unknown')}, not MR."))
    return [*found, *slice_warnings(pixels, kept.get("PixelSpacing"))]


def slice_warnings(pixels: NDArray[np.uint8], spacing_mm: list[float] | None) -> list[ScanWarning]:
    """One gray level only; pixels that are not square by more than 5 %, so that the picture is distorted.

    Args:
        pixels: (H, W) uint8, gray levels 0..255.
        spacing_mm: height and width of a pixel, millimetres; None if unknown.
    """
    found = []
    if pixels.min() == pixels.max():
        found.append(ScanWarning("scan_is_flat", "has a single gray level; it shows nothing."))
    if spacing_mm and min(spacing_mm) > 0 and max(spacing_mm) > _SQUARE * min(spacing_mm):
        found.append(
            ScanWarning(
                "pixels_are_not_square",
                f"has pixels of {spacing_mm[0]:.3g} x {spacing_mm[1]:.3g} mm (height x width) and is shown distorted; "
                "resample it to square pixels first if shape matters.",
            )
        )
    return found
