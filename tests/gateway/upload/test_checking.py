import os
import signal
import time
from types import SimpleNamespace

import pytest

from gateway.upload.checking import ImageChecker, ImageCheckUnavailable
from gateway.upload.images import CheckedImage, RefusedImage
from gateway.upload.spool import Spool, SpooledFile
from tests.gateway.pictures import picture

LIMITS = SimpleNamespace(
    image_max_bytes=1_000_000,
    image_max_pixels=1_000_000,
    image_min_side_px=16,
    scan_max_bytes=2_000_000,
    upload_max_unpacked_bytes=10_000_000,
)


@pytest.fixture
def checker():
    checker = ImageChecker(LIMITS)
    yield checker
    checker.close()


def spooled(tmp_path, *contents):
    spool = Spool(tmp_path / f"spool-{time.monotonic_ns()}")
    files = []
    for index, data in enumerate(contents):
        files.append(SpooledFile(str(index), spool.size, len(data)))
        spool.append(data)
    spool.close()
    return spool.path, files


def test_verdicts_keep_their_order(tmp_path, checker):
    contents = [picture(1), b"junk", picture(2), b"x" * 1_000_001] * 40
    verdicts = checker.check(*spooled(tmp_path, *contents))
    assert [type(verdict) for verdict in verdicts[:4]] == [CheckedImage, RefusedImage, CheckedImage, RefusedImage]
    assert verdicts == verdicts[:4] * 40
    assert verdicts[1].error.status == 415
    assert verdicts[3].error.__name__ == "ImageFileTooLarge"


def test_a_killed_child_is_replaced(tmp_path, checker):
    spool, files = spooled(tmp_path, *[picture(seed) for seed in range(3)])
    before = checker.check(spool, files)
    for pid in list(checker._pool._processes):
        os.kill(pid, signal.SIGKILL)
    assert checker.check(spool, files) == before


def test_closed_checker_says_so(tmp_path, checker):
    checker.close()
    with pytest.raises(ImageCheckUnavailable):
        checker.check(*spooled(tmp_path, picture()))
