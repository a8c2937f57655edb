"""A zip nobody trusts, unpacked into a spool.

`zipfile` alone is not enough: it renames `../evil` silently, follows no rule about symbolic links, and up to Python
3.11.7 accepts entries that share their bytes (CVE-2024-0450), which turns 34 kB into 2.5 GB. So the directory is
checked first, and unpacking counts what comes out rather than what the headers promise.
"""

import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, Final

from gateway.upload.errors import (
    EmptyUpload,
    ImageFileTooLarge,
    NotAZip,
    TooManyEntries,
    ZipCrcMismatch,
    ZipEncrypted,
    ZipEntriesOverlap,
    ZipHasSpecialFile,
    ZipHasSymlink,
    ZipMethodUnsupported,
    ZipNameMismatch,
    ZipNested,
    ZipRatioTooHigh,
    ZipSizeMismatch,
    ZipTruncated,
    ZipUnpacksTooLarge,
)
from gateway.upload.names import is_ignored, split_path
from gateway.upload.spool import Spool, SpooledFile
from shared.settings import Settings

# Field layouts: PKWARE APPNOTE.TXT 6.3.10, sections 4.3.7 (local header), 4.3.16 (end of central directory),
# 4.3.14 and 4.3.15 (their zip64 forms), 4.4.4 (flag bits).
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_END: Final = struct.Struct("<4s4H2LH")
_END64_LOCATOR: Final = struct.Struct("<4sLQL")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_MAX_COMMENT_BYTES: Final = 65_535
_ENCRYPTED: Final = 0x1
_UTF8_NAME: Final = 0x800
_CHUNK_BYTES: Final = 256 * 1024
# The ratio rule is for bombs; below this an entry may be as empty as it likes.
_RATIO_FLOOR_BYTES: Final = 1024 * 1024
_DIRECTORY_ENTRY_BYTES: Final = 2048
_ARCHIVES: Final = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".jar")
_VOLUMES: Final = (".nii", ".nii.gz")
"""Names of files that may be as large as a volume; what they are is decided by their content, later."""


def looks_like_zip(name: str, head: bytes) -> bool:
    """Whether a lone file means to be a zip, by its name or its first bytes."""
    return name.lower().endswith(".zip") or head[:4] in (b"PK\x03\x04", b"PK\x05\x06")


def unpack_zip(path: Path, target: Path, settings: Settings) -> list[SpooledFile]:
    """Unpack the zip at `path` into a spool at `target`, within the limits of `settings`; return the files in it.

    Raises:
        InvalidInput: one of the leaves of gateway/upload/errors.py, naming the entry.
    """
    with path.open("rb") as file:
        _check_end(file, settings.upload_max_entries)
        try:
            archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, ValueError, struct.error, OSError, NotImplementedError, EOFError) as error:
            raise ZipTruncated("The zip's directory cannot be read; make the zip again.") from error
        with archive:
            entries = archive.infolist()
            if len(entries) > settings.upload_max_entries:
                raise TooManyEntries(
                    f"The zip has {len(entries)} entries, more than {settings.upload_max_entries}; send it in parts."
                )
            for entry in entries:
                _check_entry(entry)
            _check_no_overlap(file, entries, archive.start_dir)
            spool = Spool(target)
            try:
                files = _unpack(archive, entries, spool, settings)
            finally:
                spool.close()
    if not files:
        raise EmptyUpload("The zip has no files.")
    return files


def _check_end(file: BinaryIO, max_entries: int) -> None:
    """Read the end record before `zipfile` loads a directory of unknown length into memory."""
    if file.read(4) not in (b"PK\x03\x04", b"PK\x05\x06"):
        raise NotAZip("The file does not begin as a zip does; send a zip, or the images themselves.")
    size = file.seek(0, 2)
    tail_at = max(0, size - _END64.size - _END64_LOCATOR.size - _END.size - _MAX_COMMENT_BYTES)
    file.seek(tail_at)
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or not 0 <= len(tail) - at - _END.size <= _MAX_COMMENT_BYTES:
        raise ZipTruncated("The end of the zip is missing; the transfer or the disk cut it off. Make the zip again.")
    _, _, _, _, n_entries, directory_bytes, _, _ = _END.unpack_from(tail, at)
    locator_at = at - _END64_LOCATOR.size
    if locator_at >= 0 and tail[locator_at : locator_at + 4] == b"PK\x06\x07":
        _, _, end64_at, _ = _END64_LOCATOR.unpack_from(tail, locator_at)
        record = tail[max(0, locator_at - _END64.size) : locator_at]
        # `zipfile` of Python 3.11.7 reads the record directly before the locator, whatever the locator says.
        named_at = tail_at + locator_at - _END64.size
        if end64_at != named_at or len(record) < _END64.size or record[:4] != b"PK\x06\x06":
            raise ZipTruncated("The zip64 end record is not where the zip says; make the zip again.")
        *_, n_entries, directory_bytes, _ = _END64.unpack(record)
    if n_entries > max_entries or directory_bytes > max_entries * _DIRECTORY_ENTRY_BYTES:
        raise TooManyEntries(f"The zip has {n_entries} entries, more than {max_entries}; send it in parts.")
    file.seek(0)


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.orig_filename
    shown = ascii(name[:80])
    if not (entry.is_dir() and name.strip("/") in ("", ".")):
        split_path(name)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind == stat.S_IFLNK:
        raise ZipHasSymlink(f"{shown} is a symbolic link; put the file itself into the zip.")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ZipHasSpecialFile(f"{shown} is not a regular file; put only images into the zip.")
    if entry.flag_bits & _ENCRYPTED:
        raise ZipEncrypted(f"{shown} is encrypted; make the zip without a password.")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ZipMethodUnsupported(
            f"{shown} is compressed with method {entry.compress_type}; make the zip with the usual method, deflate."
        )
    if name.lower().endswith(_ARCHIVES) and not name.lower().endswith(_VOLUMES):
        raise ZipNested(f"{shown} is an archive inside the archive; unpack it first.")


def _check_no_overlap(file: BinaryIO, entries: list[zipfile.ZipInfo], directory_at: int) -> None:
    """Each entry's header, name and data must end before the next entry begins."""
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        shown = ascii(entry.orig_filename[:80])
        file.seek(max(0, entry.header_offset))
        header = file.read(_LOCAL.size)
        if len(header) < _LOCAL.size or header[:4] != b"PK\x03\x04":
            raise ZipTruncated(f"{shown} is not where the zip's directory says; make the zip again.")
        *_, name_bytes, extra_bytes = _LOCAL.unpack(header)
        if entry.header_offset < end:
            raise ZipEntriesOverlap(f"{shown} shares its bytes with another entry; make the zip with a usual tool.")
        end = entry.header_offset + _LOCAL.size + name_bytes + extra_bytes + entry.compress_size
        if end > directory_at:
            raise ZipEntriesOverlap(f"{shown} runs into the zip's directory; make the zip with a usual tool.")
        name = file.read(name_bytes)
        if name != entry.orig_filename.encode("utf-8" if entry.flag_bits & _UTF8_NAME else "cp437", "replace"):
            raise ZipNameMismatch(
                f"{shown} has another name before its data than in the directory; make the zip again."
            )


def _unpack(
    archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo], spool: Spool, settings: Settings
) -> list[SpooledFile]:
    files = []
    for entry in entries:
        if entry.is_dir() or is_ignored(split_path(entry.orig_filename)):
            continue
        offset = spool.size
        _unpack_entry(archive, entry, spool, settings)
        files.append(SpooledFile(entry.orig_filename, offset, spool.size - offset))
    return files


def _unpack_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, spool: Spool, settings: Settings) -> None:
    shown = ascii(entry.orig_filename[:80])
    start = spool.size
    limit = max(_RATIO_FLOOR_BYTES, settings.upload_max_ratio * entry.compress_size)
    is_volume = entry.orig_filename.lower().endswith(_VOLUMES)
    if entry.file_size > (settings.scan_max_bytes if is_volume else settings.image_max_bytes):
        raise ImageFileTooLarge(
            f"{shown} unpacks to {entry.file_size} bytes, more than one image may have; leave it out."
        )
    try:
        with archive.open(entry) as source:
            while chunk := source.read(_CHUNK_BYTES):
                if spool.size == start and chunk[:4] == b"PK\x03\x04":
                    raise ZipNested(f"{shown} is an archive inside the archive; unpack it first.")
                spool.append(chunk)
                if spool.size - start > limit:
                    raise ZipRatioTooHigh(f"{shown} unpacks to over {settings.upload_max_ratio:.0f} times its size.")
                if spool.size > settings.upload_max_unpacked_bytes:
                    raise ZipUnpacksTooLarge(
                        f"The zip unpacks to more than {settings.upload_max_unpacked_bytes} bytes; send it in parts."
                    )
    except zipfile.BadZipFile as error:
        raise ZipCrcMismatch(f"{shown} does not have its checksum; the zip is damaged, make it again.") from error
    except (zlib.error, EOFError, struct.error, ValueError, RuntimeError) as error:
        raise ZipTruncated(f"{shown} cannot be unpacked; the zip is damaged, make it again.") from error
    if spool.size - start != entry.file_size:
        raise ZipSizeMismatch(f"{shown} has {spool.size - start} bytes, the zip says {entry.file_size}; make it again.")
