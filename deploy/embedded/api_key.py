"""The API key of the person who runs the platform on their own machine."""

from pathlib import Path

from pydantic import ValidationError

from deploy.embedded.console import CannotStart
from deploy.embedded.folder import write_private
from shared.errors import SynthMRIError

OWNER = "default"
SCOPES = ["read", "write", "admin"]


def prepare_database(path: Path) -> None:
    """Migrate the database, and leave in `path` (mode 600) a key that it knows: the one already there if it does.

    Raises:
        CannotStart: a setting is wrong, or the database cannot be used.
    """
    try:
        _ensure_api_key(path)
    except ValidationError as error:
        wrong = "; ".join(_setting(problem["loc"]) + problem["msg"] for problem in error.errors())
        raise CannotStart(f"The settings in the environment cannot be used. {wrong}.") from error
    except SynthMRIError as error:
        raise CannotStart(error.detail) from error


def _setting(location: tuple[int | str, ...]) -> str:
    """The environment variable at fault, or nothing when several are."""
    return "".join(f"SYNTHMRI_{part}".upper() + ": " for part in location)


def _ensure_api_key(path: Path) -> None:
    # Imported here: the settings of the platform must be in the environment first.
    from gateway.keys import create_key, find_principal
    from shared.database import get_database, migrate
    from shared.settings import get_settings

    migrate(get_settings())
    database = get_database()
    known = path.read_text().strip() if path.exists() else ""
    if not known or find_principal(database, known) is None:
        key, _ = create_key(database, name="embedded", owner=OWNER, scopes=SCOPES)
        write_private(path, f"{key}\n")
    database.close()
