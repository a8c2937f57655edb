"""Decoded DICOM pixels to gray levels: rescaling, window, palette and colour (DICOM PS3.3 section C.11)."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.scans.cautions import dicom_warnings
from shared.scans.content import ScanSlice, ScanWarning
from shared.scans.dicom_tags import dropped_tags, keep_tags, numbers_of, plane_of, series_of, values_of
from shared.scans.windowing import Window, find_window, render

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

_FLAT: Final = 2
"""A window of the file that leaves fewer gray levels than this shows nothing."""


def render_dicom(dataset: "FileDataset", tags: set[int]) -> ScanSlice:
    """The slice in `dataset`, whose header was checked.

    Args:
        dataset: the elements of `dicom_tags.READ` and `READ_AND_DROPPED`.
        tags: all elements of the file, without their values.
    """
    from pydicom.pixels.utils import pixel_array

    kept = keep_tags(dataset)
    dropped, private = dropped_tags(tags)
    photometric = kept["PhotometricInterpretation"]
    stored = pixel_array(dataset)
    parameters: dict[str, Any] = {}
    found: list[ScanWarning] = []
    if photometric.startswith("MONOCHROME"):
        stored, slope, intercept = _rescale(dataset, stored)
        parameters["rescale"] = {"slope": slope, "intercept": intercept}
        pixels = _window(dataset, stored, (slope, intercept), parameters, found)
        if photometric == "MONOCHROME1":  # low levels are white, DICOM PS3.3 section C.7.6.3.1.2
            pixels = 255 - pixels
    else:
        pixels = _luma(dataset, stored)
        found.append(ScanWarning("scan_has_colour", "is in colour and was turned gray; MRI slices are gray."))
    parameters |= {
        "tags": kept,
        "spacing_mm": kept.get("PixelSpacing"),
        "burned_in_annotation": kept.get("BurnedInAnnotation"),
        "dropped_tags": dropped,
        "n_private_tags": private,
    }
    return ScanSlice(
        np.ascontiguousarray(pixels),
        "DICOM",
        photometric,
        int(kept.get("BitsStored", stored.dtype.itemsize * 8)),
        plane_of(kept.get("ImageOrientationPatient")),
        parameters=parameters,
        warnings=(*found, *dicom_warnings(kept, pixels)),
        series=series_of(dataset),
    )


def _rescale(dataset: "FileDataset", stored: NDArray[Any]) -> tuple[NDArray[Any], float, float]:
    """Stored levels and the slope and intercept that are still to be applied (DICOM PS3.3 section C.11.1)."""
    from pydicom.pixels.processing import apply_modality_lut

    if dataset.get("ModalityLUTSequence"):
        return np.asarray(apply_modality_lut(stored, dataset)), 1.0, 0.0
    slope, intercept = ([*numbers_of(dataset, name), 0][0] for name in ("RescaleSlope", "RescaleIntercept"))
    return stored, float(slope) or 1.0, float(intercept)


def _window(
    dataset: "FileDataset",
    stored: NDArray[Any],
    rescale: tuple[float, float],
    parameters: dict[str, Any],
    found: list[ScanWarning],
) -> NDArray[np.uint8]:
    """Gray levels (H, W) uint8; what was done goes to `parameters`, what went wrong to `found`."""
    window = _window_of_tags(dataset)
    if window is not None:
        pixels = render(stored, window, *rescale)
        if len(np.unique(pixels)) >= _FLAT:
            parameters["window"] = window.record()
            return pixels
    elif dataset.get("VOILUTSequence"):
        from pydicom.pixels.processing import apply_voi

        levels = np.asarray(apply_voi(_as_integers(stored, rescale), dataset))
        top = float(2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1)
        parameters["window"] = {"function": "TABLE", "source": "tag"}
        return np.rint(np.clip(levels / top, 0.0, 1.0) * 255.0).astype(np.uint8)
    shown = _without_padding(dataset, stored)
    chosen = find_window(shown if shown.size else stored, *rescale)
    if window is not None and stored.min() != stored.max():
        found.append(ScanWarning("window_shows_nothing", "has a window that shows nothing; percentiles replaced it."))
    parameters["window"] = chosen.record()
    return render(stored, chosen, *rescale)


def _window_of_tags(dataset: "FileDataset") -> Window | None:
    """The first window of the file (DICOM PS3.3 section C.11.2.1.2), if it is a valid one."""
    centres, widths = numbers_of(dataset, "WindowCenter"), numbers_of(dataset, "WindowWidth")
    functions = [str(value).strip() for value in values_of(dataset, "VOILUTFunction")]
    if not centres or not widths:
        return None
    window = Window(float(centres[0]), float(widths[0]), "LINEAR", "tag")
    if functions[:1] == ["LINEAR_EXACT"]:
        window = replace(window, function="LINEAR_EXACT")
    elif functions[:1] == ["SIGMOID"]:
        window = replace(window, function="SIGMOID")
    narrowest = 1.0 if window.function == "LINEAR" else np.finfo(np.float64).tiny
    return window if window.width >= narrowest else None


def _as_integers(stored: NDArray[Any], rescale: tuple[float, float]) -> NDArray[Any]:
    """Levels as the index of a table, which takes integers only."""
    if rescale == (1.0, 0.0):
        return stored
    return np.rint(stored * rescale[0] + rescale[1]).astype(np.int32)


def _without_padding(dataset: "FileDataset", stored: NDArray[Any]) -> NDArray[Any]:
    """The levels (n,) that are not padding around the picture (DICOM PS3.3 section C.7.5.1.1.2)."""
    ends = [*numbers_of(dataset, "PixelPaddingValue")[:1], *numbers_of(dataset, "PixelPaddingRangeLimit")[:1]]
    if not ends:
        return stored
    return np.asarray(stored[(stored < min(ends)) | (stored > max(ends))])


def _luma(dataset: "FileDataset", stored: NDArray[Any]) -> NDArray[np.uint8]:
    """Gray levels (H, W) uint8 of colours (H, W, 3) or of palette indices (H, W)."""
    from pydicom.pixels.processing import apply_color_lut

    if stored.ndim == 2:
        colours = np.asarray(apply_color_lut(stored, dataset))[..., :3]
        top = float(np.iinfo(colours.dtype).max)
    else:
        colours = stored
        top = float(2 ** int(dataset.BitsStored) - 1)
    luma: NDArray[np.float64] = colours @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 section 2.5.1
    return np.rint(np.clip(luma / top, 0.0, 1.0) * 255.0).astype(np.uint8)
