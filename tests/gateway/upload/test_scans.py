"""Pictures of scans in their spool, and a gateway that starts without the libraries of scans."""

import subprocess
import sys

import numpy as np
import pytest

from gateway.upload.errors import UploadTooLarge
from gateway.upload.images import ImageLimits, RefusedImage, check_slices
from gateway.upload.scans import PictureSpool, convert_scan
from gateway.upload.spool import read_slice
from shared.scans.content import ScanLimits
from shared.scans.nifti import SliceChoice
from tests.gateway.pictures import picture
from tests.support.scan_files import dicom_file, nifti_file

LIMITS = ScanLimits(10**7, 10**6, 16)
VOLUME = np.random.default_rng(0).integers(0, 999, (20, 24, 28)).astype(np.int16)


def test_the_gateway_starts_without_the_libraries_of_scans():
    code = "import gateway.app, sys; print([name for name in ('pydicom', 'nibabel') if name in sys.modules])"
    environ = {"SYNTHMRI_ENVIRONMENT": "development", "PATH": "/usr/bin:/bin"}
    answer = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_scan_that_finds_no_room_leaves_no_picture(tmp_path):
    spool = PictureSpool(tmp_path, max_bytes=8_000)
    (kept,) = convert_scan(dicom_file(), "DICOM", LIMITS, SliceChoice(), spool)
    size = spool.size
    with pytest.raises(UploadTooLarge):
        convert_scan(nifti_file(VOLUME), "NIFTI", LIMITS, SliceChoice(slices="all"), spool)
    assert spool.size == size
    spool.close()
    with open(kept.spool, "rb") as file:
        assert read_slice(file.fileno(), kept.file.offset, kept.file.size).startswith(b"\x89PNG")
        assert file.seek(0, 2) == size


def test_no_scan_no_spool(tmp_path):
    PictureSpool(tmp_path, 1000).close()
    assert list(tmp_path.iterdir()) == []


def test_every_kind_has_its_own_limit_of_bytes(tmp_path):
    files = [picture(size=(64, 64)), dicom_file(), nifti_file(VOLUME, packed=False)]
    (tmp_path / "spool").write_bytes(b"".join(files))
    starts = np.cumsum([0, *map(len, files)])
    pieces = [(int(start), len(data)) for start, data in zip(starts, files, strict=False)]

    def accepted(max_bytes, scan_max_bytes):
        limits = ImageLimits(max_bytes, 10**6, 16, scan_max_bytes, 10**7)
        verdicts = check_slices(str(tmp_path / "spool"), pieces, limits, SliceChoice())
        return [not isinstance(verdict, RefusedImage) for verdict in verdicts]

    assert accepted(10**6, 10**6) == [True, True, True]
    assert accepted(8_000, 10**6) == [True, False, True]
    assert accepted(10**6, 1_000) == [True, True, False]
