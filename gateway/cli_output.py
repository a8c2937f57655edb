"""What all commands share: the connection, tables, progress bars, and the way to fail."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from shared.client import SynthMRI
from shared.client_environment import embedded_key, embedded_url, key_file

# Piped, a table has no terminal to fit into.
out = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 220)
err = Console(stderr=True, soft_wrap=True)


_WHOLE: Final = frozenset({"id", "kind", "status", "class"})
"""Columns that are never broken over two lines."""


@dataclass(frozen=True)
class Connection:
    """Where the platform is, whose key to show, and whether to print JSON."""

    url: str | None
    key: str | None
    as_json: bool

    def open(self, *, needs_key: bool = True) -> SynthMRI:
        """A client; the address and the key of the embedded platform where none are given."""
        key = self.key or embedded_key()
        if key is None and needs_key:
            raise typer.BadParameter(
                f"No API key: there is no {key_file()} here. Use --key, or set SYNTHMRI_API_KEY or SYNTHMRI_DATA_DIR."
            )
        return SynthMRI(self.url or embedded_url(), key)


@contextmanager
def connected(ctx: typer.Context, *, needs_key: bool = True) -> Iterator[SynthMRI]:
    """The client of this command, closed after the block."""
    connection: Connection = ctx.obj
    with connection.open(needs_key=needs_key) as platform:
        yield platform


def show(body: dict[str, Any]) -> None:
    """Print one JSON object, and on stderr the ids of what a job made, which the next command needs."""
    out.print_json(json.dumps(body))
    for item in body.get("artifacts") or []:
        err.print(f"made {item['kind']} {item['noun'].replace('_', ' ')}: {item['id']}", highlight=False, markup=False)


def show_list(ctx: typer.Context, page: dict[str, Any], columns: Sequence[str]) -> None:
    """Print a page of a list as a table with these members, or as JSON."""
    connection: Connection = ctx.obj
    if connection.as_json:
        show(page)
        return
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in _WHOLE)
    for item in page["items"]:
        table.add_row(*(_cell(item.get(column)) for column in columns))
    out.print(table)
    if page.get("next_cursor"):
        err.print(f"There are more: add --cursor {page['next_cursor']}", style="dim", markup=False)


def fail(sentence: str) -> NoReturn:
    """Print one sentence to stderr and end with exit code 1."""
    err.print(sentence, style="red", markup=False, highlight=False)
    raise typer.Exit(1)


@contextmanager
def byte_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for a transfer; yields what to call with (done, total) bytes."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total or None)


def follow(platform: SynthMRI, job: dict[str, Any]) -> dict[str, Any]:
    """Show a bar until the job has succeeded; return it.

    Raises:
        JobUnsuccessful: it failed or was cancelled.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[facts]}", style="dim"),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task(job["kind"], total=None, unit="", facts="")

        def update(state: dict[str, Any]) -> None:
            done = state["progress"]
            facts = " ".join(f"{name}={_cell(value)}" for name, value in (state.get("notes") or {}).items())
            description = f"{state['kind']} {state['status']}"
            progress.update(
                task,
                completed=done["done"],
                total=done["total"] or None,
                description=description,
                unit=done["unit"],
                facts=facts[:60],
            )

        return platform.wait(job["id"], update)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return " ".join(f"{key}={_cell(item)}" for key, item in value.items())
    if isinstance(value, list):
        return " ".join(_cell(item.get("id", item) if isinstance(item, dict) else item) for item in value)
    return str(value)
