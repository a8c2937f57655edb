"""Commands for jobs, and for the platform's health."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli_output import connected, err, fail, follow, out, show, show_list


def add_commands(app: typer.Typer) -> None:
    """Register the commands of this module."""
    for command in (jobs, job, job_files, watch, cancel, retry, health):
        app.command()(command)


def jobs(
    ctx: typer.Context,
    status: Annotated[str | None, typer.Option(help="queued, running, succeeded, failed or cancelled.")] = None,
    kind: Annotated[str | None, typer.Option(help="For example diffusion.sample.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the previous page ended.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Most jobs to list.")] = 20,
) -> None:
    """List jobs, newest first."""
    with connected(ctx) as platform:
        page = platform.jobs(status=status, kind=kind, cursor=cursor, limit=limit)
    show_list(ctx, page, ("id", "kind", "status", "progress", "eta_s", "artifacts", "error", "created_at"))


def job(ctx: typer.Context, job_id: str) -> None:
    """Show a job."""
    with connected(ctx) as platform:
        show(platform.job(job_id))


def job_files(
    ctx: typer.Context,
    job_id: str,
    name: Annotated[str | None, typer.Argument(help="Write this file only.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder to write the files to.")] = None,
) -> None:
    """List the files that a job shows, such as the sample sheets of a training, or write them to a folder."""
    with connected(ctx) as platform:
        files = platform.job(job_id)["files"]
        if output is None and name is None:
            show_list(ctx, {"items": files}, ("name", "size_bytes", "url"))
            return
        folder = output or Path()
        folder.mkdir(parents=True, exist_ok=True)
        for wanted in [name] if name else [file["name"] for file in files]:
            data = platform.job_file(job_id, wanted)
            (folder / Path(wanted).name).write_bytes(data)
            err.print(f"wrote {folder / Path(wanted).name}", highlight=False, markup=False)


def watch(ctx: typer.Context, job_id: str) -> None:
    """Follow a job to its end with a progress bar."""
    with connected(ctx) as platform:
        show(follow(platform, platform.job(job_id)))


def cancel(ctx: typer.Context, job_id: str) -> None:
    """Cancel a job."""
    with connected(ctx) as platform:
        show(platform.cancel(job_id))


def retry(
    ctx: typer.Context, job_id: str, wait: Annotated[bool, typer.Option(help="Wait for the end.")] = True
) -> None:
    """Start a failed or cancelled job again."""
    with connected(ctx) as platform:
        again = platform.retry(job_id)
        show(follow(platform, again) if wait else again)


def health(ctx: typer.Context) -> None:
    """Say what is up and what is down; exit code 1 if something is."""
    with connected(ctx, needs_key=False) as platform:
        state = platform.health()
    for name in state.get("checked", []):
        reason = state["down"].get(name)
        out.print(f"{name:14} {reason or 'up'}", style="red" if reason else "green", markup=False, highlight=False)
    if state["status"] != "ready":
        fail("The platform is not ready.")
