"""The lock files: hashed, complete, and naming no server."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
LOCKS = sorted((PROJECT / "requirements").glob("*.lock"))
OPTIONAL = ["radiomics"]
"""Extras that are not installed unless asked for: make setup EXTRAS=..."""


def pins(path: Path) -> list[tuple[str, str]]:
    return re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", path.read_text(), re.MULTILINE)


def names_of(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~! ;]", name, maxsplit=1)[0].lower() for name in requirements}


def test_there_is_one_for_all_and_one_for_each_image_and_extra() -> None:
    images = ["all", "classifier", "evaluator", "gateway", "generator", "preprocess"]
    assert [path.stem for path in LOCKS] == sorted([*images, *OPTIONAL])


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_no_line_names_a_server(path: Path) -> None:
    assert not re.search(r"://|^\s*--?(i|f|index-url|extra-index-url|find-links)\b", path.read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_every_package_has_hashes(path: Path) -> None:
    text = path.read_text()
    blocks = re.split(r"^(?=[a-z0-9][a-z0-9._-]*==)", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(pins(path))
    assert all("--hash=sha256:" in block for block in blocks)


def test_images_run_the_versions_that_the_tests_run() -> None:
    tested = set(pins(PROJECT / "requirements" / "all.lock"))
    for path in LOCKS:
        if path.stem not in OPTIONAL:
            assert set(pins(path)) <= tested


@pytest.mark.parametrize("extra", OPTIONAL)
def test_an_extra_changes_no_version_of_what_is_installed_without_it(extra: str) -> None:
    tested = pins(PROJECT / "requirements" / "all.lock")
    names = {name for name, _ in tested}
    shared = {pin for pin in pins(PROJECT / "requirements" / f"{extra}.lock") if pin[0] in names}
    assert shared
    assert shared <= set(tested)


def test_everything_the_project_declares_is_locked() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = [
        *project["dependencies"],
        *(name for extra, names in extras.items() if extra not in OPTIONAL for name in names),
    ]
    assert names_of(declared) <= {name for name, _ in pins(PROJECT / "requirements" / "all.lock")}
    for extra in OPTIONAL:
        assert names_of(extras[extra]) <= {name for name, _ in pins(PROJECT / "requirements" / f"{extra}.lock")}


def test_make_without_a_target_explains_every_target() -> None:
    shown = subprocess.run(["make", "-s"], cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    for target in ("setup", "demo", "up", "down", "status", "logs", "test", "lint", "fmt", "types", "bench", "lock"):
        assert f"make {target} " in shown
