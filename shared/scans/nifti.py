"""NIfTI volumes: bytes in, slices out, as a radiologist hangs them.

A volume is turned to the patient's axes first (right, anterior, superior). Slices are shown in radiological
convention: the patient's right is on the left of axial and coronal pictures, the front is up in axial pictures and on
the left in sagittal ones, the head is up in coronal and sagittal ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from shared.scans.cautions import slice_warnings
from shared.scans.content import ScanLimits, ScanSlice, ScanWarning
from shared.scans.dicom_tags import nearest_plane
from shared.scans.errors import (
    NoSuchSlice,
    ScanDamaged,
    ScanIsEmpty,
    ScanRefused,
    ScanTooLarge,
    ScanTooSmall,
)
from shared.scans.nifti_volume import Volume, open_volume
from shared.scans.windowing import render

Axis = Literal["axial", "coronal", "sagittal"]
_NORMALS: Final[dict[str, int]] = {"sagittal": 0, "coronal": 1, "axial": 2}


@dataclass(frozen=True)
class SliceChoice:
    """Which pictures are made of a volume.

    Attributes:
        axis: the plane of the pictures.
        slices: `middle`, `all`, or the index of one, counted from the patient's left, back or feet.
    """

    axis: Axis = "axial"
    slices: str = "middle"


def read_nifti(data: bytes, limits: ScanLimits, choice: SliceChoice | None = None) -> Iterator[ScanSlice]:
    """The chosen slices of a NIfTI file, `.nii` or gzipped; one after another, to spare memory.

    Args:
        data: the whole file.
        limits: `max_bytes` holds for the unpacked volume.
        choice: None wants a file of one slice and refuses volumes.

    Raises:
        ScanRefused: one of the leaves of `errors`.
    """
    try:
        volume = open_volume(data, limits, single=choice is None)
        axis, indices, found = _choose(volume, choice or SliceChoice())
        _check_slice(volume, axis, limits)
        for index in indices:
            yield _cut(volume, axis, index, found if index == indices[0] else ())
    except (ScanRefused, TimeoutError):  # an alarm that a caller has set
        raise
    except MemoryError as error:
        raise ScanTooLarge("The volume does not fit into memory: crop it, or save it as 16-bit integers.") from error
    except Exception as error:  # On hostile bytes nibabel raises nearly any type.
        raise ScanDamaged("The NIfTI file is damaged and cannot be read; export it again.") from error


def _choose(volume: Volume, choice: SliceChoice) -> tuple[str, list[int], tuple[ScanWarning, ...]]:
    """The axis, the indices of its slices, and what the sender should know of the volume."""
    found = []
    if not volume.has_orientation:
        found.append(
            ScanWarning(
                "orientation_is_unknown",
                "does not say how it lies in the patient (no qform, no sform): left and right may be swapped and the "
                "axis may be another one.",
            )
        )
    shape = volume.stored.shape
    flat = [axis for axis, normal in _NORMALS.items() if shape[normal] == 1]
    if len(flat) == 1:  # a single slice, whose plane is its own
        return flat[0], [0], tuple(found)
    n_slices = shape[_NORMALS[choice.axis]]
    if choice.slices == "middle":
        return choice.axis, [n_slices // 2], tuple(found)
    if choice.slices == "all":
        kept = [index for index in range(n_slices) if not _is_flat(volume, choice.axis, index)]
        if not kept:
            raise ScanIsEmpty("Every slice of the volume has one level only; it shows nothing.")
        if len(kept) < n_slices:
            text = f"has {n_slices - len(kept)} of {n_slices} {choice.axis} slices of one level only; left out."
            found.append(ScanWarning("slices_left_out", text))
        return choice.axis, kept, tuple(found)
    if int(choice.slices) >= n_slices:
        raise NoSuchSlice(f"The volume has {n_slices} {choice.axis} slices, 0 to {n_slices - 1}; choose one of them.")
    return choice.axis, [int(choice.slices)], tuple(found)


def _is_flat(volume: Volume, axis: str, index: int) -> bool:
    levels = volume.slice_at(_NORMALS[axis], index)
    return bool((levels == levels.flat[0]).all())


def _check_slice(volume: Volume, axis: str, limits: ScanLimits) -> None:
    columns, rows = (n for normal, n in enumerate(volume.stored.shape) if normal != _NORMALS[axis])
    if rows * columns > limits.max_pixels:
        raise ScanTooLarge(f"A slice is {columns} x {rows}, more than the {limits.max_pixels} pixels one may have.")
    if min(rows, columns) < limits.min_side_px:
        raise ScanTooSmall(
            f"{axis.capitalize()} slices are {columns} x {rows}; both sides must have at least {limits.min_side_px}: "
            "choose another axis."
        )


def _cut(volume: Volume, axis: str, index: int, found: tuple[ScanWarning, ...]) -> ScanSlice:
    normal = _NORMALS[axis]
    levels = volume.slice_at(normal, index)
    # (columns, rows) towards right or front, and front or head: both are reversed, then rows come first.
    pixels = render(levels[::-1, ::-1].T, volume.window, volume.slope, volume.intercept)
    width_mm, height_mm = (size for at, size in enumerate(volume.spacing_mm) if at != normal)
    spacing_mm = [round(height_mm, 6), round(width_mm, 6)]
    plane = nearest_plane(volume.normals[normal]) if volume.has_orientation else None
    parameters: dict[str, Any] = {
        "axis": axis,
        "slice": index,
        "n_slices": volume.stored.shape[normal],
        "display": "radiological",
        "rescale": {"slope": volume.slope, "intercept": volume.intercept},
        "window": volume.window.record(),
        "spacing_mm": spacing_mm,
        "slice_spacing_mm": round(volume.spacing_mm[normal], 6),
        "dropped_tags": list(volume.dropped),
    }
    return ScanSlice(
        pixels,
        "NIFTI",
        str(volume.stored.dtype.name),
        volume.stored.dtype.itemsize * 8,
        plane if plane == axis else None,
        f"{axis}-{index:03d}",
        parameters,
        (*found, *slice_warnings(pixels, spacing_mm)),
    )
