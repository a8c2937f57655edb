import itertools
import os
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.upload.body import PartsReader
from gateway.upload.errors import TooManyEntries, UploadMalformed
from gateway.upload.spool import Spool, remove_stale_folders, spool_folder

HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\nContent-Type: image/png\r\n\r\n'


def body_of(files):
    return b"".join(HEAD % name.encode() + data + b"\r\n" for name, data in files) + b"--b--\r\n"


def read(folder, pieces, max_files=100):
    spool = Spool(folder / "body")
    reader = PartsReader(b"b", spool, max_files)
    try:
        for piece in pieces:
            reader.feed(piece)
        reader.finish()
    finally:
        spool.close()
    whole = spool.path.read_bytes()
    return [(file.name, whole[file.offset : file.offset + file.size]) for file in reader.files]


@settings(max_examples=60)
@given(
    contents=st.lists(st.binary(max_size=200).filter(lambda data: b"\r\n--b" not in data), max_size=5),
    cuts=st.lists(st.integers(1, 400), max_size=8),
)
def test_parts_come_out_as_they_went_in_however_the_body_is_cut(tmp_path_factory, contents, cuts):
    files = [(f"glioma/\u00e9-{index}.png", data) for index, data in enumerate(contents)]
    body = body_of(files)
    places = sorted({min(cut, len(body)) for cut in cuts} | {0, len(body)})
    pieces = [body[start:end] for start, end in itertools.pairwise(places)]
    assert read(tmp_path_factory.mktemp("body"), pieces) == files


def test_quotes_and_newlines_in_names_are_decoded(tmp_path):
    assert read(tmp_path, [body_of([("a%22b%0Ac", b"x")])]) == [('a"b\nc', b"x")]


def test_a_body_that_stops_early_is_not_taken_for_whole(tmp_path):
    with pytest.raises(UploadMalformed, match="cut off"):
        read(tmp_path, [body_of([("a", b"x" * 500)])[:-20]])


def test_too_many_parts(tmp_path):
    with pytest.raises(TooManyEntries):
        read(tmp_path, [body_of([(str(index), b"x") for index in range(4)])], max_files=3)


def test_the_folder_is_gone_even_after_an_error(tmp_path):
    def fail_inside():
        with spool_folder(tmp_path) as folder:
            (folder / "body").write_bytes(b"x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_inside()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_folders_of_killed_gateways_are_removed_and_those_of_living_ones_kept(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    names = [f"upload-{gone.pid}-abc", f"upload-{os.getpid()}-abc", "upload-old", f"upload-{os.getppid()}-abc"]
    for name in names:
        (tmp_path / "tmp" / name).mkdir(parents=True)
    assert remove_stale_folders(tmp_path) == 3
    assert [folder.name for folder in (tmp_path / "tmp").iterdir()] == names[-1:]
