"""Commands about diffusion models: brought in, taken out, kept, calibrated, and their images drawn again."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli_output import byte_bar, connected, err, follow, show
from gateway.cli_work import Wait, finish


def add_commands(app: typer.Typer) -> None:
    """Register the commands of this module."""
    for command in (import_model, export_model, keep_training, calibrate, regenerate):
        app.command()(command)


def import_model(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="State dict as a safetensors file.")],
    preset: Annotated[
        str | None,
        typer.Option(help="The preset whose network it is, for example study; left out: what the file says."),
    ] = None,
    tumour_class: Annotated[
        str | None,
        typer.Option(
            "--class", help="What it draws; left out for a class-conditional one, and where the file says it."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="JSON of the preset's fields that differ, or an export's config."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait for the end, with a progress bar.")] = True,
) -> None:
    """Make a diffusion model of weights that were trained elsewhere, with MONAI or monai-generative."""
    fields: dict[str, Any] = {"class": tumour_class, "name": name, "config": _read_config(config) if config else None}
    with connected(ctx) as platform:
        with byte_bar(f"sending {file.name}") as report_bytes:
            job = platform.import_model(file, preset, report=report_bytes, **fields)
        show(follow(platform, job) if wait else job)


def _read_config(path: Path) -> dict[str, Any]:
    """The fields in a file, or those under `preset` in an export's config.json."""
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise typer.BadParameter(f"{path} is not JSON: {error}.") from error
    if not isinstance(read, dict):
        raise typer.BadParameter(f"{path} is no JSON object.")
    exported = read.get("preset")
    return exported if isinstance(exported, dict) else read


def export_model(
    ctx: typer.Context,
    model: str,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Zip to write; default: <model>.zip.")] = None,
) -> None:
    """Write a diffusion model as a zip that MONAI can use without this platform."""
    target = output or Path(f"{model}.zip")
    with connected(ctx) as platform, byte_bar(f"fetching {target.name}") as report_bytes:
        size_bytes = platform.export_model(model, target, report=report_bytes)
    err.print(f"wrote {target} ({size_bytes} bytes)", highlight=False, markup=False)


def keep_training(
    ctx: typer.Context,
    job: Annotated[str, typer.Argument(help="A training that was cancelled or failed.")],
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    wait: Wait = True,
) -> None:
    """Make a model of what a stopped training had learned."""
    with connected(ctx) as platform:
        finish(platform, platform.keep_training(job, name=name), wait=wait)


def calibrate(
    ctx: typer.Context,
    model: str,
    n: Annotated[int | None, typer.Option("-n", min=32, help="Images for each setting; default 64.")] = None,
    max_seconds: Annotated[float | None, typer.Option(help="A setting that would take longer is skipped.")] = None,
    wait: Wait = True,
) -> None:
    """Measure quality against seconds of samplers and steps; `--quality` of later drawings chooses by it."""
    with connected(ctx) as platform:
        finish(platform, platform.calibrate(model, n=n, max_seconds=max_seconds), wait=wait)


def regenerate(
    ctx: typer.Context,
    image_set: str,
    image: Annotated[list[str], typer.Option(help="Draw this image again; repeat for several.")],
    wait: Wait = True,
) -> None:
    """Draw images of a generated set again and say which come out with the same hash."""
    with connected(ctx) as platform:
        finish(platform, platform.regenerate(image_set, image), wait=wait)
