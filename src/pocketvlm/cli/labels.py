"""Commands about pictures and labels."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from pocketvlm.cli.options import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigPath,
    Overrides,
    Yes,
    app,
    load,
    show,
)
from pocketvlm.pipeline.stages import STAGES
from pocketvlm.progress import say


@app.command(help=STAGES[0].help)
def collect(
    config: ConfigPath = DEFAULT_CONFIG,
    set_: Overrides = None,
    top_up: Annotated[
        bool,
        typer.Option(
            "--top-up", help="Fetch more candidates of labels that are under collect.aim."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Gather pictures; what its stage says."""
    from pocketvlm.pipeline import alone
    from pocketvlm.pipeline.topup import top_up as fetch_more

    project = load(config, set_)
    show(fetch_more(project) if top_up else alone(project, STAGES[0]), as_json)


@app.command()
def review(
    config: ConfigPath = DEFAULT_CONFIG,
    set_: Overrides = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="0: that of the last time, or any that is free.")
    ] = 0,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the browser.")] = True,
    as_json: AsJson = False,
) -> None:
    """Go through the labels in the browser, two a second from the keyboard."""
    from pocketvlm.review import review as serve

    figures = serve(load(config, set_), port, open_page)
    show(figures, as_json)
    say("`pocketvlm prepare` takes these decisions into the dataset.")


@app.command()
def estimate(
    config: ConfigPath = DEFAULT_CONFIG, set_: Overrides = None, as_json: AsJson = False
) -> None:
    """Price the labelling of the collected pictures before anything is spent."""
    from pocketvlm.label.estimate import estimate as price
    from pocketvlm.label.estimate import table

    figures = price(load(config, set_))
    if as_json:
        show(figures, as_json)
    else:
        print(table(figures))


@app.command()
def answers(
    words: Annotated[list[str] | None, typer.Argument(help="Words that must occur.")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    set_: Overrides = None,
    label: Annotated[str | None, typer.Option(help="Only pictures of this label.")] = None,
    status: Annotated[
        str | None, typer.Option(help="ok, none, refused, rejected, malformed or failed.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a table for spreadsheets.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")] = False,
) -> None:
    """Search and export what the teachers said: reasons, features, colours, doubts."""
    from pocketvlm.label import answers as room

    if as_csv and as_json:
        raise typer.BadParameter("choose one of --csv and --json")
    found = room.search(load(config, set_), words or [], label, status)
    if as_csv:
        lines = room.as_csv(found)
    elif as_json:
        lines = (json.dumps(row, ensure_ascii=False) for row in found)
    else:
        lines = map(room.sentence, found)
    for line in lines:
        print(line)


@app.command()
def label(
    config: ConfigPath = DEFAULT_CONFIG,
    set_: Overrides = None,
    yes: Yes = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print events as JSON lines; the last has the figures.")
    ] = False,
) -> None:
    """Ask the teachers about every picture that has no answer yet."""
    from pocketvlm.pipeline import alone
    from pocketvlm.progress import emit, listen

    if as_json:
        listen()
    figures = alone(load(config, set_, yes), STAGES[1])
    if as_json:
        emit("done", **figures)
    else:
        show(figures, as_json)
