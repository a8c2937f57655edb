"""Commands for what is kept: image sets, models, reports."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli_output import byte_bar, connected, out, show, show_list

Cursor = Annotated[str | None, typer.Option(help="Where the previous page ended.")]
Limit = Annotated[int, typer.Option(min=1, max=500, help="Most items to list.")]
ClassOption = Annotated[str | None, typer.Option("--class", help="glioma, meningioma, notumor or pituitary.")]
SplitOption = Annotated[str | None, typer.Option(help="Training or Testing.")]
PlaneOption = Annotated[str | None, typer.Option(help="axial, coronal or sagittal.")]
KindOption = Annotated[str | None, typer.Option(help="One kind only.")]


def add_commands(app: typer.Typer) -> None:
    """Register the commands of this module."""
    for command in (upload, sets, images, label, annotations, download, grid, models, model, reports, report):
        app.command()(command)


def upload(
    ctx: typer.Context,
    source: Annotated[Path, typer.Argument(exists=True, help="A zip or a folder of <split>/<class>/<file>.")],
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    skip_invalid: Annotated[bool, typer.Option(help="Keep the good images, list the bad ones.")] = False,
    axis: Annotated[str | None, typer.Option(help="NIfTI volumes: axial (default), coronal or sagittal.")] = None,
    slices: Annotated[str | None, typer.Option(help="NIfTI volumes: middle (default), all, or an index.")] = None,
) -> None:
    """Upload images as a new image set."""
    with connected(ctx) as platform:
        with byte_bar("uploading") as report_bytes:
            made = platform.upload(
                source, name=name, skip_invalid=skip_invalid, axis=axis, slices=slices, report=report_bytes
            )
        show(made)


def sets(ctx: typer.Context, kind: KindOption = None, cursor: Cursor = None, limit: Limit = 50) -> None:
    """List image sets."""
    with connected(ctx) as platform:
        page = platform.image_sets(kind=kind, cursor=cursor, limit=limit)
    show_list(ctx, page, ("id", "kind", "name", "class", "n_images", "classes", "created_at"))


def images(
    ctx: typer.Context,
    image_set: str,
    tumour_class: ClassOption = None,
    split: SplitOption = None,
    plane: PlaneOption = None,
) -> None:
    """List the images of a set."""
    filters: dict[str, Any] = {"class": tumour_class, "split": split, "plane": plane}
    with connected(ctx) as platform:
        items = list(platform.images(image_set, **filters))
    show_list(ctx, {"items": items}, ("name", "class", "split", "plane", "width", "height", "source"))


def label(
    ctx: typer.Context,
    image_set: str,
    name: Annotated[str | None, typer.Argument(help="One image, as `synthmri images` names it.")] = None,
    csv: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Many at once: name or image_id, plane, group.")
    ] = None,
    plane: PlaneOption = None,
    group: Annotated[str | None, typer.Option(help="Keeps images of one patient in one split.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Take the corrections of the image back first.")] = False,
) -> None:
    """Correct the plane or the patient group of images."""
    if (name is None) == (csv is None):
        raise typer.BadParameter("give one image's name or --csv FILE.")
    given = {"plane": plane, "group": group}
    members = {key: value for key, value in given.items() if clear or value is not None}
    if csv is None and not members:
        raise typer.BadParameter(f"Say what to correct about {name}: --plane, --group or --clear.")
    if csv is not None and members:
        raise typer.BadParameter("--plane, --group and --clear go with one image; in a CSV they are columns.")
    with connected(ctx) as platform:
        if csv is not None:
            show(platform.correct_images(image_set, csv.read_bytes()))
        elif name is not None:
            show(platform.correct_image(image_set, name, **members))


def annotations(ctx: typer.Context, image_set: str) -> None:
    """List what people corrected about the images of a set."""
    with connected(ctx) as platform:
        items = list(platform.annotations(image_set))
    show_list(ctx, {"items": items}, ("name", "plane", "group", "by", "updated_at"))


def download(
    ctx: typer.Context,
    image_set: str,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Default: <id>.zip.")] = None,
    tumour_class: ClassOption = None,
    split: SplitOption = None,
) -> None:
    """Download a set as a zip."""
    target = output or Path(f"{image_set}.zip")
    filters: dict[str, Any] = {"class": tumour_class, "split": split}
    with connected(ctx) as platform, byte_bar("downloading") as report_bytes:
        size = platform.download_archive(image_set, target, report=report_bytes, **filters)
    out.print(f"{target}: {size} bytes", markup=False, highlight=False)


def grid(
    ctx: typer.Context,
    image_set: str,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the PNG.")] = Path("grid.png"),
    tumour_class: ClassOption = None,
    n: Annotated[int, typer.Option("-n", min=1, max=400, help="How many images.")] = 25,
    px: Annotated[int, typer.Option(min=16, max=512, help="Width of a cell, pixels.")] = 96,
) -> None:
    """Write a contact sheet of a set."""
    options: dict[str, Any] = {"class": tumour_class, "n": n, "px": px}
    with connected(ctx) as platform:
        output.write_bytes(platform.grid(image_set, **options))
    out.print(str(output), markup=False, highlight=False)


def models(
    ctx: typer.Context,
    kind: KindOption = None,
    tumour_class: ClassOption = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> None:
    """List models."""
    filters: dict[str, Any] = {"kind": kind, "class": tumour_class, "cursor": cursor, "limit": limit}
    with connected(ctx) as platform:
        page = platform.models(**filters)
    show_list(ctx, page, ("id", "kind", "name", "class", "created_at"))


def model(ctx: typer.Context, model_id: str) -> None:
    """Show a model card."""
    with connected(ctx) as platform:
        show(platform.model(model_id))


def reports(ctx: typer.Context, kind: KindOption = None, cursor: Cursor = None, limit: Limit = 50) -> None:
    """List reports."""
    with connected(ctx) as platform:
        page = platform.reports(kind=kind, cursor=cursor, limit=limit)
    show_list(ctx, page, ("id", "kind", "name", "created_at"))


def report(
    ctx: typer.Context,
    report_id: str,
    report_format: Annotated[str, typer.Option("--format", help="json, csv, html or png.")] = "json",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to a file.")] = None,
) -> None:
    """Show or save a report."""
    with connected(ctx) as platform:
        body = platform.report_as(report_id, report_format)
    if output:
        output.write_bytes(body)
        out.print(str(output), markup=False, highlight=False)
    elif report_format == "json":
        out.print_json(body.decode())
    elif report_format == "png":
        raise typer.BadParameter("a PNG needs --output FILE.")
    else:
        out.print(body.decode(), markup=False, highlight=False)
