"""`python -m deploy.embedded up | down | status | logs`: the whole platform on this machine."""

import argparse
import os
import sys
from pathlib import Path

from deploy.embedded.console import CannotStart


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 a sentence says why not."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except CannotStart as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        return 130


def _run(options: argparse.Namespace) -> int:
    # Each command imports what it needs: `status` must not wait for the database layer.
    if options.command == "up":
        from deploy.embedded.start import up

        up(os.environ)
        return 0
    if options.command == "down":
        from deploy.embedded.stop import down

        down(os.environ)
        return 0
    from deploy.embedded import status

    if options.command == "status":
        return 0 if status.show_status(os.environ, as_json=options.json) else 1
    if options.command == "openapi":
        status.save_openapi(os.environ, options.output)
        return 0
    status.show_logs(os.environ, options.name, n_lines=options.lines, follow=options.follow)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.embedded", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start everything and return when it is ready")
    commands.add_parser("down", help="stop what `up` started; the data stay")
    shown = commands.add_parser("status", help="what runs, since when, in how much memory")
    shown.add_argument("--json", action="store_true", help="for programs")
    logs = commands.add_parser("logs", help="the end of the logs")
    logs.add_argument("name", nargs="*", help="a process; all by default")
    logs.add_argument("-n", "--lines", type=int, default=20)
    logs.add_argument("-f", "--follow", action="store_true", help="go on as they grow")
    document = commands.add_parser("openapi", help="save the merged OpenAPI document of the running platform")
    document.add_argument("output", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())
