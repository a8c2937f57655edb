import multiprocessing
import os
import shutil
import stat
from collections import namedtuple
from pathlib import Path

import pytest

from deploy.embedded.console import CannotStart
from deploy.embedded.folder import LONGEST_SOCKET_PATH, DataFolder, write_private


def test_create_makes_private_folders(folder: DataFolder) -> None:
    for made in (folder.root, folder.run, folder.logs, folder.redis, folder.s3):
        assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_a_file_in_the_way_is_a_sentence_that_names_the_folder_and_the_variable(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    with pytest.raises(CannotStart, match=r"Cannot write in the data folder .*/data: .*SYNTHMRI_DATA_DIR"):
        DataFolder(tmp_path / "data").create()


def test_a_full_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(10**12, 10**12 - 10**6, 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(CannotStart, match="is full: 0 MiB are free, 256 MiB are needed"):
        DataFolder(tmp_path / "data").create()


@pytest.mark.parametrize("depth", [1, 20])
def test_socket_path_fits_into_a_unix_address(tmp_path: Path, depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp")
    folder = DataFolder(tmp_path.joinpath(*["deep-folder"] * depth))
    folder.create()
    assert len(os.fsencode(folder.socket)) <= LONGEST_SOCKET_PATH or depth == 1
    assert stat.S_IMODE(folder.socket.parent.stat().st_mode) == 0o700
    assert (folder.root in folder.socket.parents) == (depth == 1 and len(str(tmp_path)) < 70)
    if folder.root not in folder.socket.parents:
        folder.socket.parent.rmdir()


def test_two_folders_with_long_paths_have_two_sockets(tmp_path: Path) -> None:
    one, other = (DataFolder(tmp_path / ("x" * 100) / name) for name in "ab")
    assert one.socket != other.socket


def test_one_command_at_a_time(folder: DataFolder) -> None:
    with folder.alone(), pytest.raises(CannotStart, match="Another `up` or `down` is at work"), folder.alone():
        pass
    with folder.alone():
        pass


def test_is_running_follows_the_life_of_the_lock_holder(folder: DataFolder) -> None:
    assert not folder.is_running()
    context = multiprocessing.get_context("fork")
    told, end = context.Event(), context.Event()

    def hold() -> None:
        with folder.platform_lock():
            told.set()
            end.wait(120)

    holder = context.Process(target=hold)
    holder.start()
    assert told.wait(60)
    assert folder.is_running()
    holder.kill()
    holder.join()
    assert not folder.is_running()


def test_a_stale_pid_file_names_nobody(folder: DataFolder) -> None:
    folder.pid_file.write_text(str(os.getpid()))
    assert folder.supervisor_pid() is None


def test_write_private_replaces_in_one_step_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_private(path, "one")
    write_private(path, "two")
    assert path.read_text() == "two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_state_survives_and_a_damaged_one_is_empty(folder: DataFolder) -> None:
    folder.write_state({"url": "http://127.0.0.1:1"})
    assert folder.read_state() == {"url": "http://127.0.0.1:1"}
    folder.state.write_text("{")
    assert folder.read_state() == {}
