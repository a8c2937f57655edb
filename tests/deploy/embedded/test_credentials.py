import stat
from dataclasses import asdict
from pathlib import Path

import pytest

from deploy.embedded.console import CannotStart
from deploy.embedded.credentials import Credentials, load_credentials


def test_credentials_are_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    first = load_credentials(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_credentials(path) == first


def test_two_installations_share_no_secret() -> None:
    one, other = asdict(Credentials.draw()), asdict(Credentials.draw())
    assert not set(one.values()) & set(other.values())
    assert len(set(one.values())) == len(one)


def test_secrets_are_long_enough_for_every_server_and_need_no_quoting() -> None:
    for secret in asdict(Credentials.draw()).values():
        assert len(secret) >= 16
        assert secret.isalnum()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"redis_password": "x"}'])
def test_a_damaged_file_is_a_sentence_and_is_kept(tmp_path: Path, text: str) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(text)
    with pytest.raises(CannotStart, match="is damaged"):
        load_credentials(path)
    assert path.read_text() == text
