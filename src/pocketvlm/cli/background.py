"""Commands that look after a run, also one that was started in the background."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketvlm.cli.options import DEFAULT_CONFIG, AsJson, ConfigPath, app, show
from pocketvlm.progress import console, say

if TYPE_CHECKING:
    from pocketvlm.workspace import Workspace

EVERY = 2.0
"""Seconds between two looks of `status --watch`."""


def folder_of(config: Path) -> Workspace:
    """The workspace of a configuration, which is not read: one that was spoilt while a run goes on
    must not hide the run."""
    from pocketvlm.errors import ConfigError
    from pocketvlm.workspace import Workspace

    if not config.is_file():
        raise ConfigError(f"{config} does not exist: give the project's configuration with -c")
    return Workspace(config.resolve().parent)


@contextmanager
def until_ctrl_c() -> Iterator[None]:
    """Whoever only looked leaves; the run goes on."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit from None


@app.command()
def status(
    config: ConfigPath = DEFAULT_CONFIG,
    watch: Annotated[bool, typer.Option("--watch", help="Look again until the run ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say where the run stands: stages, progress, figures, cost, GPU, memory, disk."""
    from rich.live import Live
    from rich.text import Text

    from pocketvlm.pipeline.status import status as look
    from pocketvlm.pipeline.status import told
    from pocketvlm.pipeline.work import at_work

    workspace = folder_of(config)
    figures = look(workspace)
    if as_json and not watch:
        return show(figures, as_json)
    if not watch:
        return print(told(figures))
    first = Text(told(figures))
    with until_ctrl_c(), Live(first, console=console, auto_refresh=False, transient=True) as live:
        while at_work(figures["run"]):
            if as_json:
                show(figures, as_json)
            time.sleep(EVERY)
            figures = look(workspace)
            live.update(Text(told(figures)), refresh=True)
    show(figures, as_json) if as_json else print(told(figures))


@app.command()
def logs(
    config: ConfigPath = DEFAULT_CONFIG,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on until the run ends.")
    ] = False,
    last: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many of the last.")] = 40,
) -> None:
    """Show the log of the newest run; a run has one of its own in logs/."""
    from pocketvlm.pipeline.background import lines

    with until_ctrl_c():
        for line in lines(folder_of(config), last, follow):
            print(line, flush=True)


@app.command()
def stop(config: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """End the run once nothing is lost: a checkpoint is written, paid answers are awaited."""
    from pocketvlm.pipeline.background import end, wait_for
    from pocketvlm.pipeline.work import last_run

    workspace = folder_of(config)
    holder = end(workspace)
    if holder is None:
        say(f"nothing is at work in {workspace.root}")
    else:
        say(f"`{holder['command']}` (pid {holder['pid']}) is told to stop; it saves its work first")
        wait_for(workspace, holder)
        run = last_run(workspace)
        became = run["state"] if run and run["pid"] == holder["pid"] else "ended"
        say(f"{became}: `pocketvlm run` goes on from here")
    if as_json:
        show({"stopped": holder}, as_json)
