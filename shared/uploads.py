"""One image sent to a service for an answer at once; it is read into memory and never stored."""

from fastapi import UploadFile

from shared.errors import TooLarge
from shared.settings import get_settings


class ImageFileTooLarge(TooLarge):
    """The uploaded image has more bytes than the platform accepts."""


def read_image_file(file: UploadFile) -> bytes:
    """The bytes of the file.

    Raises:
        ImageFileTooLarge: more bytes than one image may have.
    """
    limit = get_settings().image_max_bytes
    data = file.file.read(limit + 1)
    if len(data) > limit:
        raise ImageFileTooLarge(f"The image has more than {limit} bytes; send a single slice.")
    return data
