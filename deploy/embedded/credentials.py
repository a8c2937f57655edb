"""Secrets of the embedded servers: made at the first start, kept in one file that only its owner can read."""

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.embedded.console import CannotStart
from deploy.embedded.folder import write_private


@dataclass(frozen=True)
class Credentials:
    """What the embedded processes show each other; no two installations share any of it."""

    redis_password: str
    s3_access_key: str
    s3_secret_key: str
    internal_token: str

    @classmethod
    def draw(cls) -> "Credentials":
        """Fresh secrets of at least 160 bits, of characters that need no quoting in any configuration file."""
        return cls(
            redis_password=secrets.token_hex(24),
            s3_access_key=secrets.token_hex(10),
            s3_secret_key=secrets.token_hex(24),
            internal_token=secrets.token_hex(24),
        )


def load_credentials(path: Path) -> Credentials:
    """The secrets in `path`, drawn and written (mode 600) if there is no such file.

    Raises:
        CannotStart: the file is damaged; it is never replaced silently.
    """
    if not path.exists():
        drawn = Credentials.draw()
        write_private(path, json.dumps(asdict(drawn), indent=2))
        return drawn
    try:
        known = Credentials(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise CannotStart(
            f"{path} is damaged. Remove it to have new secrets made; images, models and jobs are not touched by that."
        ) from error
    path.chmod(0o600)
    return known
