import subprocess
import sys
from pathlib import Path

import pytest

from deploy.embedded import programs
from deploy.embedded.__main__ import main
from deploy.embedded.console import CannotStart
from deploy.embedded.start import remove_broken_uploads


def test_what_a_killed_upload_left_is_removed_and_objects_stay(tmp_path: Path) -> None:
    nested = tmp_path / "synthmri" / "blobs" / "ab"
    nested.mkdir(parents=True)
    (nested / "abcd").write_bytes(b"object")
    (nested / ".rclone_temp_put_1").write_bytes(b"half")
    assert remove_broken_uploads(tmp_path) == 1
    assert [path.name for path in nested.iterdir()] == ["abcd"]


def test_missing_packages_are_named_with_the_way_to_install_them() -> None:
    with pytest.raises(CannotStart, match=r"no_such_package cannot be imported by .*make setup"):
        programs.require_packages(("json", "no_such_package"))


def test_redis_is_new_enough_and_rclone_is_there() -> None:
    assert subprocess.run([programs.find_redis_server(), "--version"], check=True, capture_output=True).stdout
    assert subprocess.run([programs.find_rclone(), "version"], check=True, capture_output=True).stdout


def test_an_old_redis_on_the_path_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=5.0.3 sha=0'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert programs.find_redis_server() != str(old)


def test_status_and_down_of_a_folder_that_never_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SYNTHMRI_DATA_DIR", str(tmp_path / "new"))
    assert main(["status"]) == 1
    assert main(["down"]) == 0
    assert capsys.readouterr().out.count("is not running") == 2
    assert not (tmp_path / "new").exists()
    assert main(["logs"]) == 1
    assert "There is no log" in capsys.readouterr().err


def test_the_command_does_not_wait_for_heavy_libraries() -> None:
    code = (
        "import sys, deploy.embedded.__main__, deploy.embedded.status; "
        "print(set(sys.modules) & {'torch', 'fastapi', 'sqlalchemy'})"
    )
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert answer.stdout.strip() == "set()"
