"""The zip rows 1 to 22 of the upload corpus: each danger has its own refusal, and nothing leaves the spool."""

import io
import stat
import struct
import zipfile
from types import SimpleNamespace

import pytest

from gateway.upload import errors
from gateway.upload.spool import read_slice
from gateway.upload.zips import looks_like_zip, unpack_zip
from shared.errors import InvalidInput, TooLarge
from tests.gateway.pictures import picture, zip_of

LIMITS = SimpleNamespace(
    upload_max_entries=1000,
    upload_max_ratio=100.0,
    upload_max_unpacked_bytes=50_000_000,
    image_max_bytes=20_000_000,
    scan_max_bytes=30_000_000,
)
IMAGE = picture(size=(64, 64))


def unpack(tmp_path, data, limits=LIMITS):
    path = tmp_path / "body"
    path.write_bytes(data)
    return unpack_zip(path, tmp_path / "unpacked", limits)


def with_entry(name, *, mode=None, data=IMAGE):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo(name)
        entry.create_system = 3
        if mode is not None:
            entry.external_attr = mode << 16
        archive.writestr(entry, data)
    return buffer.getvalue()


def patched(data, signature, offset, value):
    """`data` with bytes replaced behind every header that begins with `signature`."""
    changed = bytearray(data)
    at = changed.find(signature)
    while at >= 0:
        changed[at + offset : at + offset + len(value)] = value
        at = changed.find(signature, at + 4)
    return bytes(changed)


def sharing_one_kernel(n):
    """A zip whose directory names one entry's bytes n times (Fifield, A better zip bomb, 2019)."""
    plain = zip_of({"glioma/0000.png": b"\0" * 100_000})
    directory_at = plain.index(b"PK\x01\x02")
    record = plain[directory_at : plain.index(b"PK\x05\x06")]
    records = record * n
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, n, n, len(records), directory_at, 0)
    return plain[:directory_at] + records + end


def quoted_overlap():
    """Two entries, the first of which claims the second's header as part of its own data."""
    plain = zip_of({"glioma/a.png": IMAGE, "glioma/b.png": IMAGE}, zipfile.ZIP_STORED)
    directory_at = plain.index(b"PK\x01\x02")
    longer = struct.pack("<2L", len(IMAGE) + 60, len(IMAGE) + 60)
    return plain[: directory_at + 20] + longer + plain[directory_at + 28 :]


BAD = {
    "slip": (with_entry("../evil.png"), errors.PathEscapes),
    "slip inside": (with_entry("glioma/../../evil.png"), errors.PathEscapes),
    "absolute": (with_entry("/etc/evil.png"), errors.PathAbsolute),
    "drive": (with_entry("C:/evil.png"), errors.PathAbsolute),
    "backslash": (with_entry("..\\evil.png"), errors.PathHasBackslash),
    "symlink": (with_entry("glioma/link.png", mode=stat.S_IFLNK | 0o777, data=b"/etc/passwd"), errors.ZipHasSymlink),
    "symlinked folder": (with_entry("glioma", mode=stat.S_IFLNK | 0o777, data=b"/etc"), errors.ZipHasSymlink),
    "pipe": (with_entry("glioma/pipe", mode=stat.S_IFIFO | 0o666, data=b""), errors.ZipHasSpecialFile),
    "device": (with_entry("glioma/device", mode=stat.S_IFCHR | 0o666, data=b""), errors.ZipHasSpecialFile),
    "ratio": (zip_of({"glioma/zeros.bmp": b"\0" * 10_000_000}), errors.ZipRatioTooHigh),
    "overlap": (sharing_one_kernel(500), errors.ZipEntriesOverlap),
    "quoted overlap": (quoted_overlap(), errors.ZipEntriesOverlap),
    "nested by name": (zip_of({"glioma/inner.zip": zip_of({"a": b"b"})}), errors.ZipNested),
    "nested by content": (zip_of({"glioma/inner.png": zip_of({"a": b"b"})}), errors.ZipNested),
    "entries": (zip_of({f"glioma/{index}.png": b"" for index in range(1001)}), errors.TooManyEntries),
    "size lie": (
        patched(zip_of({"glioma/1.png": IMAGE}), b"PK\x01\x02", 24, struct.pack("<L", 10)),
        errors.ZipCrcMismatch,
    ),
    "crc": (patched(zip_of({"glioma/1.png": IMAGE}), b"PK\x01\x02", 16, b"\1\2\3\4"), errors.ZipCrcMismatch),
    "truncated": (zip_of({"glioma/1.png": IMAGE})[:-30], errors.ZipTruncated),
    "half": (zip_of({"glioma/1.png": IMAGE})[:1000], errors.ZipTruncated),
    "polyglot": (IMAGE + zip_of({"glioma/1.png": IMAGE}), errors.NotAZip),
    "encrypted": (
        patched(patched(zip_of({"glioma/1.png": IMAGE}), b"PK\x01\x02", 8, b"\1\0"), b"PK\x03\x04", 6, b"\1\0"),
        errors.ZipEncrypted,
    ),
    "method": (patched(zip_of({"glioma/1.png": IMAGE}), b"PK\x01\x02", 10, b"\x63\0"), errors.ZipMethodUnsupported),
    "long name": (with_entry("glioma/" + "x" * 300 + ".png"), errors.NameInvalid),
    "newline": (with_entry("glioma/a\nb.png"), errors.NameInvalid),
    "right to left": (with_entry("glioma/\u202egnp.exe"), errors.NameInvalid),
    "local name": (
        zip_of({"glioma/1.png": IMAGE}).replace(b"glioma/1.png", b"glioma/2.png", 1),
        errors.ZipNameMismatch,
    ),
    "empty": (zip_of({}), errors.EmptyUpload),
    "only ignored": (zip_of({"__MACOSX/._x": b"x", ".DS_Store": b"x"}), errors.EmptyUpload),
    "not a zip": (b"hello", errors.NotAZip),
    "nothing": (b"", errors.NotAZip),
}


@pytest.mark.parametrize("name", BAD)
def test_dangerous_zip_is_refused_by_name(tmp_path, name):
    data, error = BAD[name]
    with pytest.raises((InvalidInput, TooLarge)) as caught:
        unpack(tmp_path, data)
    assert type(caught.value) is error
    assert {path.name for path in tmp_path.iterdir()} <= {"body", "unpacked"}


def test_zip64_size_lie(tmp_path):
    entry = zip_of({"glioma/1.png": IMAGE}, zipfile.ZIP_STORED)
    at = entry.index(b"PK\x01\x02")
    # Both sizes "see the zip64 extra field", which says 2^64 - 1.
    extra = struct.pack("<2H2Q", 1, 16, 2**64 - 1, 2**64 - 1)
    directory = bytearray(entry[at : entry.index(b"PK\x05\x06")] + extra)
    directory[20:28] = b"\xff" * 8
    directory[30:32] = struct.pack("<H", len(extra))
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(directory), at, 0)
    with pytest.raises(InvalidInput):
        unpack(tmp_path, entry[:at] + bytes(directory) + end)


def test_directory_of_a_hundred_thousand_entries_is_not_loaded(tmp_path):
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 50_000, 50_000, 2**31, 4, 0)
    with pytest.raises(errors.TooManyEntries):
        unpack(tmp_path, b"PK\x03\x04" + end)


def end64(n_entries, directory_bytes, directory_at):
    """A zip64 end record, 56 bytes."""
    sizes = (n_entries, n_entries, directory_bytes, directory_at)
    return struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, *sizes)


def as_zip64(plain, comment=b"", *, shift=0):
    """`plain` with a zip64 end record and a locator that names a place `shift` bytes after it."""
    directory_at, end_at = plain.index(b"PK\x01\x02"), plain.index(b"PK\x05\x06")
    *_, n_entries, directory_bytes, _, _ = struct.unpack("<4s4H2LH", plain[end_at:])
    record = end64(n_entries, directory_bytes, directory_at)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end_at + shift, 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 46, directory_at, len(comment))
    return plain[:end_at] + record + locator + end + comment


@pytest.mark.parametrize("n_bytes", [0, 1, 65_459, 65_535])
def test_a_zip64_unpacks_whatever_its_comment(tmp_path, n_bytes):
    files = unpack(tmp_path, as_zip64(zip_of({"glioma/1.png": IMAGE, "glioma/2.png": IMAGE}), b"c" * n_bytes))
    assert [file.name for file in files] == ["glioma/1.png", "glioma/2.png"]


@pytest.mark.parametrize("n_bytes", [65_459, 65_479, 65_480, 65_515, 65_516, 65_535])
def test_the_longest_comment_hides_no_zip64_directory(tmp_path, n_bytes):
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 46, 4, n_bytes)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 4, 1)
    with pytest.raises(errors.TooManyEntries):
        unpack(tmp_path, b"PK\x03\x04" + end64(5_000_000, 2**31, 4) + locator + end + b"c" * n_bytes)


def test_a_comment_longer_than_any_is_no_end(tmp_path):
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0, 0, 0, 4, 65_535)
    with pytest.raises(errors.ZipTruncated, match="end of the zip is missing"):
        unpack(tmp_path, b"PK\x03\x04" + bytes(100) + end + b"c" * 65_536)


def test_a_zip64_locator_cannot_name_another_record_than_the_one_that_is_read(tmp_path):
    """`zipfile` reads the record directly before the locator, whatever the locator says."""
    many = zip_of({f"glioma/{index}.png": b"" for index in range(1001)})
    benign = end64(1, 46, many.index(b"PK\x01\x02"))
    with pytest.raises(errors.ZipTruncated, match="zip64 end record is not where the zip says"):
        unpack(tmp_path, as_zip64(many, benign, shift=56 + 20 + 22))


def test_unpacking_stops_at_the_limit_and_not_after_it(tmp_path):
    limits = SimpleNamespace(**{**vars(LIMITS), "upload_max_ratio": 1e9, "upload_max_unpacked_bytes": 2_000_000})
    with pytest.raises(errors.ZipUnpacksTooLarge):
        unpack(tmp_path, zip_of({"glioma/zeros.bmp": b"\0" * 15_000_000}), limits)
    assert (tmp_path / "unpacked").stat().st_size <= 2_000_000 + 300_000


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_honest_zip_unpacks_to_its_bytes(tmp_path, method):
    wanted = {"Training/glioma/1.png": picture(1), "Training/glioma/\u00e9.png": picture(2), "Testing/notumor/3": b"x"}
    files = unpack(tmp_path, zip_of({**wanted, "__MACOSX/._1": b"x", "Training/": b""}, method))
    with (tmp_path / "unpacked").open("rb") as spool:
        found = {file.name: read_slice(spool.fileno(), file.offset, file.size) for file in files}
    assert found == wanted


def test_a_lone_file_means_to_be_a_zip_by_name_or_by_bytes():
    assert looks_like_zip("SCANS.ZIP", b"")
    assert looks_like_zip("scans", b"PK\x03\x04")
    assert not looks_like_zip("glioma/1.png", IMAGE[:4])
