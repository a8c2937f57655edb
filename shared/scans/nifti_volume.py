"""A NIfTI file opened: its header checked, its voxels finite and turned to the patient's axes."""

import io
import logging
import math
import warnings
import zlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.scans.content import GZIP, ScanLimits
from shared.scans.errors import (
    NiftiHasNoVoxels,
    NiftiHasVolumes,
    NiftiTypeUnsupported,
    ScanDamaged,
    ScanNotFinite,
    ScanTooLarge,
    ScanTruncated,
    SliceNotChosen,
)
from shared.scans.windowing import Window, find_window

_HEADER_BYTES: Final = 544
"""A NIfTI-2 header and the four bytes that announce extensions; a NIfTI-1 header is shorter."""
_CHUNK_BYTES: Final = 65_536
_TEXTS: Final = ("descrip", "aux_file", "intent_name", "db_name", "data_type")
_MM: Final = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}


@dataclass(frozen=True)
class Volume:
    """A NIfTI volume along the patient's axes.

    Attributes:
        stored: (X, Y, Z) towards the patient's right, front and head; levels before rescaling, a view of the file.
        slope: levels are `stored * slope + intercept`.
        intercept: see slope.
        window: of the whole volume, so that its slices can be compared.
        spacing_mm: size of a voxel along X, Y, Z, millimetres.
        normals: (3, 3) unit vectors: the direction of each axis in the patient.
        has_orientation: whether the file says how the volume lies in the patient.
        dropped: the fields of the header that could name the patient and were not blank.
    """

    stored: NDArray[Any]
    slope: float
    intercept: float
    window: Window
    spacing_mm: tuple[float, float, float]
    normals: NDArray[np.float64]
    has_orientation: bool
    dropped: tuple[str, ...]

    def slice_at(self, normal: int, index: int) -> NDArray[Any]:
        """Stored levels (2-D) of the slice at `index` of the axis `normal`, 0..2; a view (`take` would copy it all)."""
        levels: NDArray[Any] = np.moveaxis(self.stored, normal, 0)[index]
        return levels


def open_volume(data: bytes, limits: ScanLimits, *, single: bool = False) -> Volume:
    """The volume in a NIfTI file, plain or gzipped.

    Args:
        data: the whole file.
        limits: `max_bytes` holds for the unpacked volume.
        single: whether the file must hold one slice only; a volume is then refused from its header.

    Raises:
        ScanRefused: one of the leaves of `errors`; on damaged bytes nearly any other exception.
    """
    import nibabel
    import nibabel.affines
    import nibabel.orientations

    library: Any = nibabel  # most of its functions are not typed
    orientations = library.orientations

    logging.getLogger("nibabel").setLevel(logging.CRITICAL + 1)  # its lines repeat fields of the file
    warnings.filterwarnings("ignore", module=r"nibabel(\..*)?$")
    head = bytes(_unpack(data, _HEADER_BYTES)) if data[:2] == GZIP else data[:_HEADER_BYTES]
    is_second = head[4:6] == b"n+" or head[4:6] == b"ni"
    header_class = library.Nifti2Header if is_second else library.Nifti1Header
    header = header_class.from_fileobj(io.BytesIO(head[: header_class.template_dtype.itemsize]))
    shape = _check_shape(header, single=single)
    dtype, offset = _check_voxels(header, shape, limits)
    n_bytes = offset + math.prod(shape) * dtype.itemsize
    voxels = _unpack(data, n_bytes) if data[:2] == GZIP else data
    if len(voxels) < n_bytes:
        raise ScanTruncated("The NIfTI file ends inside its voxels; copy or export it again.")
    levels = np.frombuffer(voxels, dtype, count=math.prod(shape), offset=offset).reshape(shape, order="F")
    _check_finite(levels)
    affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise ScanDamaged("The NIfTI header places all voxels in one plane (its affine is singular); correct it.")
    turn = orientations.io_orientation(affine)
    turned_affine = affine @ orientations.inv_ornt_aff(turn, shape)
    unit_mm = _MM.get(header.get_xyzt_units()[0], 1.0)
    slope, intercept = header.get_slope_inter()
    slope, intercept = float(slope or 1.0), float(intercept or 0.0)
    sizes = library.affines.voxel_sizes(turned_affine)
    x_mm, y_mm, z_mm = (float(size) * unit_mm for size in sizes)
    return Volume(
        orientations.apply_orientation(levels, turn),
        slope,
        intercept,
        find_window(levels, slope, intercept),
        (x_mm, y_mm, z_mm),
        (turned_affine[:3, :3] / sizes).T,
        bool(header["qform_code"] > 0 or header["sform_code"] > 0),
        _texts_of(header, head),
    )


def _unpack(data: bytes, n_bytes: int) -> bytearray:
    """The first `n_bytes` of a gzip, however much it would unpack to; its checksum is tested where its end is near."""
    unpacker = zlib.decompressobj(wbits=31)
    unpacked = bytearray()
    try:
        for at in range(0, len(data), _CHUNK_BYTES):
            piece = data[at : at + _CHUNK_BYTES]
            while piece and len(unpacked) < n_bytes:
                unpacked += unpacker.decompress(piece, n_bytes - len(unpacked))
                piece = unpacker.unconsumed_tail
            if len(unpacked) == n_bytes:
                unpacker.decompress(piece + data[at + _CHUNK_BYTES : at + 2 * _CHUNK_BYTES], _CHUNK_BYTES)
                break
    except zlib.error as error:
        raise ScanDamaged("The gzip is damaged; compress the NIfTI file again.") from error
    return unpacked


def _check_shape(header: Any, *, single: bool) -> tuple[int, int, int]:
    """Number of voxels along each axis of the file."""
    if bytes(header["magic"].item())[:2] == b"ni":
        raise NiftiHasNoVoxels("This is the header of a NIfTI pair; save the scan as a single .nii file.")
    sizes = [int(size) for size in header.get_data_shape()]
    if len(sizes) < 2 or min(sizes) < 1:
        raise ScanDamaged("The NIfTI header names no voxels; export the scan again.")
    sizes += [1] * (3 - len(sizes))
    n_volumes = math.prod(sizes[3:])
    if n_volumes > 1:
        raise NiftiHasVolumes(f"The NIfTI file holds {n_volumes} volumes: save the one you want as a file of its own.")
    if single and sum(size > 1 for size in sizes) > 2:
        raise SliceNotChosen(
            f"This is a volume of {sizes[0]} x {sizes[1]} x {sizes[2]} voxels, and one slice is wanted: upload it with "
            "POST /image-sets?axis=axial&slices=middle, or save the slice as an image."
        )
    return sizes[0], sizes[1], sizes[2]


def _check_voxels(header: Any, shape: tuple[int, int, int], limits: ScanLimits) -> tuple["np.dtype[Any]", int]:
    """Data type and offset of the voxels."""
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise NiftiTypeUnsupported("The voxels are colours or complex numbers; save the scan as integers or floats.")
    offset = int(header.get_data_offset())
    if offset < header.template_dtype.itemsize:
        raise ScanDamaged("The NIfTI header says that the voxels begin inside it; export the scan again.")
    needed = offset + math.prod(shape) * dtype.itemsize
    if needed > limits.max_bytes:
        raise ScanTooLarge(
            f"The volume has {needed} bytes unpacked, more than the {limits.max_bytes} one may have: crop it, or save "
            "it as 16-bit integers."
        )
    return dtype, offset


def _check_finite(levels: NDArray[Any]) -> None:
    if levels.dtype.kind != "f":
        return
    n_bad = sum(int(np.count_nonzero(~np.isfinite(levels[..., z]))) for z in range(levels.shape[2]))
    if n_bad:
        raise ScanNotFinite(
            f"{n_bad} of {levels.size} voxels are not finite numbers (NaN or infinity): replace them, for example with "
            "`numpy.nan_to_num`, and save the scan again."
        )


def _texts_of(header: Any, head: bytes) -> tuple[str, ...]:
    """Which free texts the header has, and whether extensions follow it; never what they say."""
    size = int(header.template_dtype.itemsize)
    texts = [name for name in _TEXTS if name in header and bytes(header[name].item()).strip(b"\x00 ")]
    return (*texts, *(["extension"] if head[size : size + 1] > b"\x00" else []))
