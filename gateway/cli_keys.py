"""Commands for API keys; they talk to the database itself, so the first key needs no key."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer

from gateway.cli_output import err, out, show, show_list
from gateway.keys import create_key, list_keys, revoke_key
from shared.client_environment import data_folder
from shared.database import Database

app = typer.Typer(
    no_args_is_help=True,
    help="Make, list and revoke API keys. Uses SYNTHMRI_DATABASE_URL, else the database in .synthmri.",
)


@app.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Option(help="Who or what the key is for.")],
    owner: Annotated[str, typer.Option(help="The team, such as team-a; its keys share what they make.")] = "default",
    scopes: Annotated[str, typer.Option(help="Some of read, write and admin, with commas between.")] = "write",
) -> None:
    """Make a key and print it; it cannot be shown again."""
    with _database() as database:
        key, described = create_key(
            database, name=name, owner=owner, scopes=[scope.strip() for scope in scopes.split(",")]
        )
    if ctx.obj.as_json:
        show({**described, "key": key})
        return
    err.print(f"Key {described['id']} of {owner} for {name}. Keep it; it is not stored.", markup=False, highlight=False)
    out.print(key, markup=False, highlight=False)


@app.command("list")
def list_all(ctx: typer.Context) -> None:
    """List all keys, without their secrets."""
    with _database() as database:
        keys = list_keys(database)
    for key in keys:
        for member in ("created_at", "revoked_at", "last_used_at"):
            key[member] = key[member] and datetime.fromtimestamp(key[member], UTC).isoformat(timespec="seconds")
    show_list(ctx, {"items": keys}, ("id", "name", "owner", "scopes", "created_at", "last_used_at", "revoked_at"))


@app.command()
def revoke(key_id: str) -> None:
    """End a key's life at once."""
    with _database() as database:
        revoke_key(database, key_id)
    out.print(f"revoked {key_id}", markup=False, highlight=False)


@contextmanager
def _database() -> Iterator[Database]:
    path = data_folder() / "synthmri.db"
    url = os.environ.get("SYNTHMRI_DATABASE_URL")
    if not url and not path.is_file():
        raise FileNotFoundError(2, "There is no database; start the platform first, or set SYNTHMRI_DATABASE_URL", path)
    database = Database(url or f"sqlite:///{path.absolute()}")
    try:
        yield database
    finally:
        database.close()
