"""Entry point: a user's mistake becomes one line and an exit code."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from pocketvlm import __version__
from pocketvlm.cli import background, device, exchange, labels, remote, verdicts, way
from pocketvlm.cli.options import app as app
from pocketvlm.errors import PocketError
from pocketvlm.progress import say

ROOMS = (way, background, verdicts, labels, device, exchange, remote)
"""Each has added its commands to the app."""

INTERRUPTED = 130
"""What typer exits with after Ctrl-C."""


def main() -> None:
    """Entry point: a user's mistake becomes one line and an exit code, not a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that knows fewer letters
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except PocketError as error:
        if not int(os.environ.get("RANK", 0)):  # all of torch's processes find the same mistake
            say(f"error: {error}")
        sys.exit(error.exit_code)
    except SystemExit as stop:
        if stop.code != INTERRUPTED:
            raise
        say("stopped; what is finished is kept, run the same command to go on")
        sys.exit(1)
    except OSError as error:
        say(f"error: {error.strerror or error}: {error.filename or 'no file named'}")
        sys.exit(1)


def version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        print(f"pocketvlm {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of all commands."""
