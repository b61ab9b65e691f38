"""Commands that do a project's work on a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketvlm.cli.options import DEFAULT_CONFIG, ConfigPath, Overrides, app, load

if TYPE_CHECKING:
    from pocketvlm.remote.server import Server

remote = typer.Typer(
    help="Run a project on a server and bring the bundle back; what was started there needs no\n"
    "connection.",
    no_args_is_help=True,
)
app.add_typer(remote, name="remote")

PASSED_ON = {"ignore_unknown_options": True}
"""Other options are those of the command there."""

Folder = Annotated[
    str | None,
    typer.Option(
        help="The project's folder there; relative to the home.",
        show_default="pocketvlm/ and the name of the folder here",
    ),
]
Ssh = Annotated[str, typer.Option(help="How to call ssh: 'ssh -p 2222 -i key'.")]
Arguments = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ARGS]...", help="Options of the command there.", show_default=False),
]


@remote.callback()
def host(
    context: typer.Context,
    host: Annotated[str, typer.Argument(help="user@host, or an alias of ~/.ssh/config.")],
) -> None:
    """Whose commands follow."""
    context.obj = host


def _server(context: typer.Context, folder: str | None, ssh: str, config: Path) -> Server:
    from pocketvlm.remote.server import Server

    return Server.of(context.obj, folder, ssh, config)


@remote.command(context_settings=PASSED_ON)
def run(
    context: typer.Context,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ARGS]...",
            help="Options of `pocketvlm run`: --until train --nproc 4 --yes.",
            show_default=False,
        ),
    ] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    set_: Overrides = None,
    folder: Folder = None,
    ssh: Ssh = "ssh",
    python: Annotated[
        str,
        typer.Option(
            help="A Python there that has the packages already.",
            show_default="a virtual environment is made",
        ),
    ] = "",
) -> None:
    """Send the project and the program, set up, and `run --detach ARGS`.

    What is under way there is not started twice; after a broken connection the same command
    goes on."""
    from pocketvlm.remote.run import run as run_there

    _check_arguments(arguments or [])
    server = _server(context, folder, ssh, config)
    raise typer.Exit(run_there(server, config, set_ or (), arguments or (), python))


def _check_arguments(arguments: list[str]) -> None:
    """A slip of the pen is found before anything is sent, by the command that is called there."""
    from typer.main import get_command

    commands = get_command(app)
    commands.commands["run"].make_context("pocketvlm run", list(arguments))  # type: ignore[attr-defined]


def _call(command: str, help_: str) -> None:
    """A command that is called there as it is here."""

    def called(
        context: typer.Context,
        arguments: Arguments = None,
        config: ConfigPath = DEFAULT_CONFIG,
        folder: Folder = None,
        ssh: Ssh = "ssh",
    ) -> None:
        server = _server(context, folder, ssh, config)
        raise typer.Exit(server.call(config.resolve().name, command, arguments or []))

    remote.command(command, help=help_, context_settings=PASSED_ON)(called)


_call("status", "How far the run there is: --watch, --json.")
_call("logs", "What the run there says: -f follows it.")


@remote.command()
def fetch(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Folders of the workspace: adapter gguf labels ...", show_default=False
        ),
    ] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    set_: Overrides = None,
    folder: Folder = None,
    ssh: Ssh = "ssh",
) -> None:
    """Bring bundle/ and report/ back, or the folders that are named."""
    from pocketvlm.remote.fetch import fetch as bring

    bring(_server(context, folder, ssh, config), load(config, set_), names or [])


_call("stop", "Stop the run there, or its set-up; the next run goes on.")
