import socket

import pytest

from deploy.embedded.console import CannotStart
from deploy.embedded.credentials import Credentials
from deploy.embedded.folder import DataFolder
from deploy.embedded.plan import child_environment, folder_from, make_plan
from deploy.embedded.ports import choose_free_port
from shared.settings import Settings

SECRETS = Credentials(redis_password="rp", s3_access_key="ak", s3_secret_key="sk", internal_token="it")


@pytest.fixture
def port() -> str:
    return str(choose_free_port(set()))


def test_everything_is_embedded_by_default(folder: DataFolder, port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(folder, {"SYNTHMRI_PORT": port})
    environment = child_environment(plan, SECRETS, {})
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert plan.runs_redis
    assert plan.runs_s3
    assert settings.redis_url == f"redis://:rp@127.0.0.1:{plan.ports['redis']}/0"
    assert settings.s3_endpoint == f"127.0.0.1:{plan.ports['s3']}"
    assert (settings.s3_access_key, settings.s3_secret_key, settings.internal_token) == ("ak", "sk", "it")
    assert settings.database_url == f"sqlite:///{folder.database}"
    assert settings.data_dir == folder.root
    assert settings.generator_url == f"http://127.0.0.1:{plan.ports['generator']}"


def test_external_servers_replace_the_embedded_ones(folder: DataFolder, port: str) -> None:
    external = {
        "SYNTHMRI_PORT": port,
        "SYNTHMRI_REDIS_URL": "redis://elsewhere:6379/0",
        "SYNTHMRI_S3_ENDPOINT": "s3.elsewhere:443",
        "SYNTHMRI_S3_SECRET_KEY": "theirs",
        "SYNTHMRI_DATABASE_URL": "postgresql+psycopg://elsewhere/db",
    }
    plan = make_plan(folder, external)
    environment = child_environment(plan, SECRETS, external)
    assert not plan.runs_redis
    assert not plan.runs_s3
    assert {name: environment[name] for name in external} == external
    assert "RCLONE_AUTH_KEY" not in environment


def test_a_taken_port_is_named_with_the_variable_that_changes_it(folder: DataFolder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = str(server.getsockname()[1])
        with pytest.raises(CannotStart, match=rf"Port {taken} on 127.0.0.1 is taken .*SYNTHMRI_PORT"):
            make_plan(folder, {"SYNTHMRI_PORT": taken})


@pytest.mark.parametrize("text", ["0", "65536", "eighty", "-1", "80.5"])
def test_what_is_no_port_is_a_sentence(folder: DataFolder, text: str) -> None:
    with pytest.raises(CannotStart, match="is not a port"):
        make_plan(folder, {"SYNTHMRI_PORT": text})


def test_the_address_shown_can_be_opened_on_this_machine(folder: DataFolder, port: str) -> None:
    plan = make_plan(folder, {"SYNTHMRI_PORT": port, "SYNTHMRI_HOST": "0.0.0.0"})
    assert plan.url == f"http://127.0.0.1:{port}"


def test_data_folder_is_absolute_and_has_a_default() -> None:
    assert folder_from({}).root.is_absolute()
    assert folder_from({}).root.name == ".synthmri"
    assert str(folder_from({"SYNTHMRI_DATA_DIR": "/somewhere"}).root) == "/somewhere"


def test_the_callers_own_library_settings_win(folder: DataFolder, port: str) -> None:
    plan = make_plan(folder, {"SYNTHMRI_PORT": port})
    assert child_environment(plan, SECRETS, {"MALLOC_ARENA_MAX": "7"})["MALLOC_ARENA_MAX"] == "7"
