import os
import threading
import time
from concurrent.futures.process import BrokenProcessPool
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


class Poison(int):
    """A size that ends the child which receives it, as a file does that crashes its decoder."""

    def __reduce__(self):
        return os._exit, (1,)


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
    for child in list(checker._pool._processes.values()):
        child.kill()
    assert checker.check(spool, files) == before


def test_a_good_image_stays_good_while_another_upload_kills_the_children(tmp_path, checker):
    """Two uploads share the children; a file that kills its decoder says nothing of the files of the other upload."""
    spool, files = spooled(tmp_path, *[picture(seed) for seed in range(2)])
    finished = threading.Event()

    def kill_children():
        while not finished.wait(0.01):
            children = getattr(checker._pool, "_processes", None) or {}
            for child in list(children.values()):
                child.kill()

    killer = threading.Thread(target=kill_children)
    killer.start()
    try:
        verdicts = checker.check(spool, files)
    finally:
        finished.set()
        killer.join()
    assert [type(verdict) for verdict in verdicts] == [CheckedImage, CheckedImage]


def test_children_that_others_break_as_fast_as_they_start_fail_no_upload(tmp_path, checker, monkeypatch):
    def submit(*_):
        raise BrokenProcessPool

    spool, files = spooled(tmp_path, picture(0), b"no picture")
    expected = checker.check(spool, files)
    broken = SimpleNamespace(submit=submit, shutdown=lambda **_: None)
    monkeypatch.setattr(checker, "_open", lambda: broken)
    assert checker.check(spool, files) == expected


def test_a_file_that_ends_its_child_is_refused_and_those_around_it_are_not(tmp_path, checker):
    spool, files = spooled(tmp_path, *[picture(seed) for seed in range(4)])
    for index in (1, 3):
        files[index] = SpooledFile(files[index].name, files[index].offset, Poison(files[index].size))
    verdicts = checker.check(spool, files)
    assert [type(verdict) for verdict in verdicts] == [CheckedImage, RefusedImage, CheckedImage, RefusedImage]
    assert verdicts[1].error.__name__ == "ImageDamaged"


def test_closed_checker_says_so(tmp_path, checker):
    checker.close()
    with pytest.raises(ImageCheckUnavailable):
        checker.check(*spooled(tmp_path, picture()))
