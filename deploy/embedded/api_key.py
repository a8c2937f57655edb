"""The API key of the person who runs the platform on their own machine."""

from pathlib import Path

from deploy.embedded.folder import write_private

OWNER = "default"
SCOPES = ["read", "write", "admin"]


def ensure_api_key(path: Path) -> None:
    """Migrate the database, and leave in `path` (mode 600) a key that it knows: the one already there if it does."""
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
