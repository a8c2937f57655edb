"""The platform that is meant where nobody names one: that of the environment, else the one of this folder."""

import json
import os
from pathlib import Path

from shared.client import SynthMRI
from shared.errors import InvalidInput


class ApiKeyNotFound(InvalidInput):
    """Neither the environment nor the folder has a key."""


def connect(*, patience_s: float = 30.0) -> SynthMRI:
    """A client by SYNTHMRI_URL and SYNTHMRI_API_KEY; without them, of the platform that was started in this folder.

    Raises:
        ApiKeyNotFound: there is no key.
    """
    key = os.environ.get("SYNTHMRI_API_KEY") or embedded_key()
    if key is None:
        raise ApiKeyNotFound(f"There is no {key_file()} here; set SYNTHMRI_API_KEY or SYNTHMRI_DATA_DIR.")
    return SynthMRI(os.environ.get("SYNTHMRI_URL") or embedded_url(), key, patience_s=patience_s)


def data_folder() -> Path:
    """Where the embedded platform of this folder keeps its data."""
    return Path(os.environ.get("SYNTHMRI_DATA_DIR") or ".synthmri")


def embedded_url() -> str:
    """The address of the embedded platform of this folder, as it was last started."""
    state = data_folder() / "run" / "platform.json"
    try:
        return str(json.loads(state.read_text())["url"])
    except (OSError, ValueError, KeyError):
        return f"http://127.0.0.1:{os.environ.get('SYNTHMRI_PORT', '8000')}"


def key_file() -> Path:
    """The file that `make up` writes the first key of the embedded platform into."""
    return data_folder() / "api-key"


def embedded_key() -> str | None:
    """The first key of the embedded platform of this folder, if there is one."""
    return key_file().read_text().strip() if key_file().is_file() else None
