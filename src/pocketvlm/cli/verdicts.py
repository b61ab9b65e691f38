"""Commands that judge: the shipped files, other files, other pictures, and runs side by side."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from pocketvlm.cli.options import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigPath,
    Overrides,
    app,
    figures_of_a_missed_gate,
    load,
    show,
)
from pocketvlm.pipeline.stages import STAGES
from pocketvlm.progress import say

STAGE = next(stage for stage in STAGES if stage.name == "validate")


@app.command(help=STAGE.help)
def validate(
    config: ConfigPath = DEFAULT_CONFIG,
    set_: Overrides = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Judge on a folder of class folders instead, below verdicts/."
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="Judge this text model's GGUF file, from anywhere."),
    ] = None,
    mmproj: Annotated[Path | None, typer.Option(help="Its vision file.")] = None,
    as_json: AsJson = False,
) -> None:
    """The stage, or a verdict on other pictures or other files; that one writes verdicts/ only."""
    from pocketvlm.pipeline import alone
    from pocketvlm.pipeline.work import one_at_a_time

    if against is None and model is None and mmproj is None:
        with figures_of_a_missed_gate(as_json):
            figures = alone(load(config, set_), STAGE)
        return show(figures, as_json)

    from pocketvlm.validate.judge import class_folders, judge, outside
    from pocketvlm.validate.judge.subject import both

    given = both(model, mmproj)
    absent = config == DEFAULT_CONFIG and not config.is_file() and not set_
    project = outside(against) if absent and given else load(config, set_)
    if against is not None:
        class_folders(project, against)  # before the lock: a wrong call leaves nothing behind
    # A folder that is no project has no stage to keep away, so no state/ either.
    lock = nullcontext() if absent else one_at_a_time(project)
    with figures_of_a_missed_gate(as_json), lock:
        figures = judge(project, against, given)
    show(figures, as_json)


@app.command()
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN RUN...", help="Workspaces, report folders or metrics.json."),
    ],
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write them as one page that opens offline.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put runs side by side: what the first got right against what the others did."""
    from pocketvlm.validate.compare import compare as side_by_side
    from pocketvlm.validate.compare.page import check_place, render, table
    from pocketvlm.workspace import write_text

    if html is not None:
        check_place(html)
    figures = side_by_side(runs)
    if as_json:
        show(figures, as_json)
    else:
        print(table(figures))
    if html is not None:
        write_text(html, render(figures))
        say(f"Wrote {html}")
