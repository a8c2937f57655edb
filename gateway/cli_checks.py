"""Commands that measure synthetic image sets, and leave images out of them."""

from typing import Annotated

import typer

from gateway.cli_output import connected
from gateway.cli_work import Fields, Wait, finish, read_fields


def add_commands(app: typer.Typer) -> None:
    """Register the commands of this module."""
    for command in (evaluate, audit, exclude):
        app.command()(command)


def evaluate(
    ctx: typer.Context,
    synthetic: str,
    real: str,
    metric: Annotated[list[str] | None, typer.Option(help="fid, kid, is, precision, ...; repeat for several.")] = None,
    features: Annotated[str | None, typer.Option(help="inception (default), classifier or radiomics.")] = None,
    field: Fields = None,
    wait: Wait = True,
) -> None:
    """Measure how far a synthetic set is from a real one."""
    fields = {"features": features, **read_fields(field)}
    with connected(ctx) as platform:
        finish(platform, platform.evaluate(synthetic, real, metric, **fields), wait=wait)


def audit(
    ctx: typer.Context,
    synthetic: str,
    real: str,
    tumour_class: Annotated[
        str | None, typer.Option("--class", help="This class only; default: every class of the synthetic set.")
    ] = None,
    checks: Annotated[
        str | None, typer.Option(help="Comma between: memorisation, shortcuts, diversity, usefulness; default: all.")
    ] = None,
    field: Fields = None,
    wait: Wait = True,
) -> None:
    """Find copies of real images, shortcuts and gaps in a synthetic set."""
    wanted = [check.strip() for check in checks.split(",")] if checks else None
    fields = {"class": tumour_class, **read_fields(field)}
    with connected(ctx) as platform:
        finish(platform, platform.audit(synthetic, real, wanted, **fields), wait=wait)


def exclude(
    ctx: typer.Context,
    image_set: str,
    report: Annotated[str | None, typer.Option(help="Leave out the copies that this audit names.")] = None,
    image: Annotated[list[str] | None, typer.Option(help="Leave this image out; repeat for several.")] = None,
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    wait: Wait = True,
) -> None:
    """Make a set without some images of this one, which stays as it is."""
    with connected(ctx) as platform:
        finish(platform, platform.exclude(image_set, report, image or (), name=name), wait=wait)
