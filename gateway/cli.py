"""`synthmri`: the platform from a shell. Every command is one call of `shared.client`."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gateway import cli_checks, cli_data, cli_jobs, cli_keys, cli_models, cli_weights, cli_work
from gateway.cli_output import Connection, fail
from shared.client import ApiProblem, JobUnsuccessful
from shared.errors import SynthMRIError


class OneSentence(TyperGroup):
    """Shows every expected error as one sentence and ends with exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (ApiProblem, JobUnsuccessful, SynthMRIError) as error:
            fail(f"{error.detail} [{error.code}]")
        except OSError as error:
            fail(f"{error.filename}: {error.strerror}." if error.filename else f"{error}")


app = typer.Typer(
    name="synthmri",
    cls=OneSentence,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Make synthetic brain MRIs, measure them, and find out whether they help a tumour classifier.",
)


@app.callback()
def connect(
    ctx: typer.Context,
    url: Annotated[
        str | None,
        typer.Option(
            envvar="SYNTHMRI_URL", help="Address of the gateway (default: the platform started in this folder)."
        ),
    ] = None,
    key: Annotated[
        str | None, typer.Option(envvar="SYNTHMRI_API_KEY", help="API key (default: the one in .synthmri/api-key).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's JSON instead of tables.")] = False,
) -> None:
    """Remember where the platform is and how to print."""
    ctx.obj = Connection(url, key, as_json)


for _module in (cli_data, cli_work, cli_checks, cli_models, cli_jobs):
    _module.add_commands(app)
app.add_typer(cli_weights.app, name="weights")
app.add_typer(cli_keys.app, name="keys")


if __name__ == "__main__":
    app()
