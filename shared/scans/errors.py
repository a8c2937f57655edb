"""What can be wrong with a scan; no sentence here repeats anything that the file says of a patient."""

from shared.errors import InvalidInput


class ScanRefused(InvalidInput):
    """Base of what is wrong with a DICOM or NIfTI file."""


class ScanTruncated(ScanRefused):
    """The end of the scan is missing."""


class ScanDamaged(ScanRefused):
    """The file begins as a scan but cannot be read."""


class ScanTooLarge(ScanRefused):
    """More pixels, voxels or bytes than one scan may have."""


class ScanTooSmall(ScanRefused):
    """One side of a slice is shorter than the platform accepts."""


class ScanNotFinite(ScanRefused):
    """Voxels are NaN or infinite."""


class ScanIsEmpty(ScanRefused):
    """No slice of the volume shows anything."""


class NoSuchSlice(ScanRefused):
    """The volume has fewer slices than the index that was asked for."""


class SliceNotChosen(ScanRefused):
    """The file is a volume where one slice is wanted."""


class DicomHasFrames(ScanRefused):
    """The DICOM file holds several images: a volume, or a film."""


class DicomHasNoPixels(ScanRefused):
    """The DICOM file is no image: a report, a directory, a header without its pixels."""


class DicomCompressionUnsupported(ScanRefused):
    """No decoder for this transfer syntax is installed."""


class DicomColourUnsupported(ScanRefused):
    """The pixels are neither gray, RGB, YBR nor of a palette."""


class NiftiHasVolumes(ScanRefused):
    """The NIfTI file holds several volumes, as functional and diffusion scans do."""


class NiftiHasNoVoxels(ScanRefused):
    """The NIfTI file is the header of a pair; its voxels are in another file."""


class NiftiTypeUnsupported(ScanRefused):
    """The voxels are colours or complex numbers."""
