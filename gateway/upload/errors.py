"""What can be wrong with an upload: one class for each way to be refused, so that each has a stable code.

What can be wrong with a DICOM or NIfTI file is in shared/scans/errors.py.
"""

from shared.errors import InvalidInput, SynthMRIError, TooLarge, UnsupportedType


class UploadTooLarge(TooLarge):
    """More bytes than an upload may have."""


class UploadTooSlow(SynthMRIError):
    """The sender stopped sending in the middle of the body."""

    status = 408


class UploadMalformed(InvalidInput):
    """The body is not multipart/form-data with parts `file`, nor a zip."""


class EmptyUpload(InvalidInput):
    """There is no image in the upload."""


class TooManyEntries(InvalidInput):
    """More files than one upload may have."""


class NotAZip(InvalidInput):
    """The file is called a zip but does not begin as one."""


class ZipTruncated(InvalidInput):
    """The end of the archive is missing, or its directory cannot be read."""


class ZipEntriesOverlap(InvalidInput):
    """Two entries share the same bytes, as in a zip bomb."""


class ZipRatioTooHigh(InvalidInput):
    """The archive unpacks to far more bytes than it has."""


class ZipUnpacksTooLarge(TooLarge):
    """The unpacked files together are above the limit."""


class ZipSizeMismatch(InvalidInput):
    """An entry does not have the size that the archive's directory gives."""


class ZipCrcMismatch(InvalidInput):
    """An entry's bytes do not have the checksum that the archive gives."""


class ZipNameMismatch(InvalidInput):
    """An entry has one name in the directory and another before its data."""


class ZipEncrypted(InvalidInput):
    """An entry is encrypted."""


class ZipMethodUnsupported(InvalidInput):
    """An entry is compressed in another way than stored or deflated."""


class ZipHasSymlink(InvalidInput):
    """An entry is a symbolic link."""


class ZipHasSpecialFile(InvalidInput):
    """An entry is a device, a pipe or a socket."""


class ZipNested(InvalidInput):
    """An entry is itself an archive."""


class PathEscapes(InvalidInput):
    """A name leads out of the upload by `..`."""


class PathAbsolute(InvalidInput):
    """A name begins at the root of a disk."""


class PathHasBackslash(InvalidInput):
    """A name has a backslash, which is a folder on one system and a letter on another."""


class NameInvalid(InvalidInput):
    """A name is too long, not Unicode, or has characters that cannot be seen."""


class NamesCollide(InvalidInput):
    """Two files have the same name, or names that differ only in case or in Unicode form."""


class UnknownClassFolder(InvalidInput):
    """A file does not lie in a folder named after a tumour class."""


class LayoutInvalid(InvalidInput):
    """A file does not lie at `<split>/<class>/<file>` or `<class>/<file>`."""


class ImageFileEmpty(InvalidInput):
    """The file has no bytes."""


class ImageFileTooLarge(InvalidInput):
    """The file has more bytes than one image may have."""


class ImageTypeUnsupported(UnsupportedType):
    """The bytes are not JPEG, PNG, TIFF, BMP, DICOM or NIfTI."""


class ImageTooManyPixels(InvalidInput):
    """The image has more pixels than one image may have."""


class ImageTooSmall(InvalidInput):
    """One side of the image is shorter than the platform accepts."""


class ImageHasFrames(InvalidInput):
    """The file holds several images."""


class ImageTruncated(InvalidInput):
    """The end of the image is missing."""


class ImageDamaged(InvalidInput):
    """The file begins as an image but cannot be decoded."""


class ImageHidesArchive(InvalidInput):
    """The file is an image and a zip at once."""


class ImageTooSlow(InvalidInput):
    """Decoding the image takes longer than any honest image needs."""


class BadFiles(InvalidInput):
    """Several files were refused, for different reasons."""
