"""Commands for library weights: networks that others trained, which some metrics and presets need."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli_output import byte_bar, connected, show, show_list

app = typer.Typer(no_args_is_help=True, help="List and install library weights.")


@app.command("list")
def list_weights(ctx: typer.Context) -> None:
    """List the weights the platform can use."""
    with connected(ctx) as platform:
        page = platform.weights()
    show_list(ctx, page, ("name", "installed", "used_by", "how", "source"))


@app.command()
def install(
    ctx: typer.Context,
    name: str,
    file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="The file as its library publishes it.")
    ] = None,
) -> None:
    """Install weights from a file, or without one from the library's own source."""
    with connected(ctx) as platform:
        with byte_bar(f"installing {name}") as report_bytes:
            made = platform.install_weights(name, file, report=report_bytes)
        show(made)
