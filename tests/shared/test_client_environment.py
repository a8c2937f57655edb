"""Which platform is meant where nobody names one."""

import json
from pathlib import Path

import pytest

from shared.client_environment import ApiKeyNotFound, connect, embedded_key, embedded_url


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("SYNTHMRI_URL", "SYNTHMRI_API_KEY", "SYNTHMRI_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SYNTHMRI_DATA_DIR", str(tmp_path))
    return tmp_path


def test_the_address_is_that_of_the_last_start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert embedded_url() == "http://127.0.0.1:8000"
    monkeypatch.setenv("SYNTHMRI_PORT", "8080")
    assert embedded_url() == "http://127.0.0.1:8080"
    (folder / "run").mkdir()
    (folder / "run" / "platform.json").write_text(json.dumps({"url": "http://127.0.0.1:8123"}))
    assert embedded_url() == "http://127.0.0.1:8123"


def test_a_key_comes_from_the_environment_or_the_folder_or_is_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ApiKeyNotFound, match="api-key here; set SYNTHMRI_API_KEY"):
        connect()
    (folder / "api-key").write_text("smri_of_folder\n")
    assert embedded_key() == "smri_of_folder"
    connect().close()
    (folder / "api-key").unlink()
    monkeypatch.setenv("SYNTHMRI_API_KEY", "smri_of_environment")
    connect().close()
