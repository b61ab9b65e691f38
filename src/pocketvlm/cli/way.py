"""Commands of the whole way: a project, all its stages, the demo."""

from __future__ import annotations

import os
import shlex
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pocketvlm.cli.options import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigPath,
    Overrides,
    Yes,
    app,
    figures_of_a_missed_gate,
    load,
    show,
)
from pocketvlm.pipeline.stages import STAGES, Stage
from pocketvlm.progress import say

if TYPE_CHECKING:
    from pocketvlm.project import Project
    from pocketvlm.workspace import Workspace

TRAIN = next(stage for stage in STAGES if stage.name == "train")
PLAIN = ("prepare", "merge", "convert")
"""Stages whose commands have no options of their own."""

Processes = Annotated[
    int, typer.Option("--nproc", min=1, help="Processes that train together, one a GPU.")
]


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="The project's folder.")] = Path(),
) -> None:
    """Write a commented pocketvlm.yaml."""
    from pocketvlm.pipeline.doctor import write_config

    path = write_config(folder)
    say(f"Wrote {path}. Put pictures into {path.parent / 'pictures'} and see `pocketvlm doctor`.")


@app.command()
def doctor(
    config: ConfigPath = DEFAULT_CONFIG, set_: Overrides = None, as_json: AsJson = False
) -> None:
    """Find now what would fail later: keys, endpoints, base, disk, memory, GPU, runtime."""
    from pocketvlm.pipeline.doctor import examine, told

    facts, problems = examine(load(config, set_))
    if as_json:
        show(facts | {"problems": [str(problem) for problem in problems]}, as_json)
    else:
        print(told(facts))
    for problem in problems:
        say(f"error: {problem}")
    if problems:
        raise typer.Exit(max(problem.exit_code for problem in problems))


@app.command()
def run(
    config: ConfigPath = DEFAULT_CONFIG,
    set_: Overrides = None,
    first: Annotated[str | None, typer.Option("--from", help="First stage.")] = None,
    last: Annotated[str | None, typer.Option("--until", help="Last stage.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Run also what is up to date.")] = False,
    vision_sizes: Annotated[
        str | None,
        typer.Option(metavar="SIDE,SIDE", help="Compare sides of bitmap and tower, below sizes/."),
    ] = None,
    nproc: Processes = 1,
    detach: Annotated[
        bool, typer.Option("--detach", help="Run in the background; it outlives the terminal.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Run all stages; what is up to date is skipped."""
    from pocketvlm.pipeline import run as run_stages
    from pocketvlm.pipeline.run import select
    from pocketvlm.pipeline.work import recorded

    if detach:
        return _in_background(config, load(config, set_, yes), as_json)
    if vision_sizes is not None:
        from pocketvlm.errors import ConfigError
        from pocketvlm.pipeline.sizes import check_sizes, compare_sizes, read_sides

        if first or last or nproc > 1:
            raise ConfigError(
                "--vision-sizes goes the whole way in one process: leave --from, --until and "
                "--nproc out"
            )
        compared = compare_sizes(load(config, set_, yes), read_sides(vision_sizes), force)
        if as_json:
            show(compared, as_json)
        else:
            from pocketvlm.pipeline.sizes_page import table

            print(table(compared))
        return check_sizes(compared)

    project = load(config, set_, yes)
    stages = [stage.name for stage in select(project, first, last)]
    with figures_of_a_missed_gate(as_json), recorded(project, "run", stages):
        figures = run_stages(project, first, last, force, nproc)
        if "bundle" in figures:
            say(_result(project.workspace, figures.get("validate", {})))
    if as_json:
        show(figures, as_json)


def _result(workspace: Workspace, verdict: dict[str, Any]) -> str:
    """What came out of a whole run, and where it lies."""
    measured = "Done"
    if verdict:
        low, high = verdict["ci"]
        measured += (
            f": accuracy in llama.cpp {verdict['accuracy']:.3f} [{low:.3f}, {high:.3f}] on "
            f"{verdict['n']} pictures"
        )
    return f"{measured}\n  report: {workspace.report / 'report.html'}\n  bundle: {workspace.bundle}"


def _in_background(config: Path, project: Project, as_json: bool) -> None:
    from pocketvlm.pipeline.background import detach
    from pocketvlm.pipeline.work import at_work

    started = detach(project, [word for word in sys.argv[1:] if word not in ("--detach", "--json")])
    if as_json:
        return show(started, as_json)
    log, where = project.workspace.root / started["log"], shlex.quote(str(config))
    if not at_work(started):
        return say(f"done; log {log}")
    say(
        f"In the background, pid {started['pid']}; log {log}\n"
        f"  pocketvlm status -c {where}     where it stands (--watch)\n"
        f"  pocketvlm logs -f -c {where}    what it says\n"
        f"  pocketvlm stop -c {where}       a checkpoint first; `run` goes on from it"
    )


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo's workspace goes.")] = Path(
        "demo-workspace"
    ),
    seed: Annotated[int, typer.Option(help="Seed of scenes and training.")] = 0,
    pictures: Annotated[
        int | None, typer.Option(min=10, help="How many scenes are drawn.", show_default="3000")
    ] = None,
    open_report: Annotated[bool, typer.Option("--open", help="Open the report.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the whole way on the embedded default: no account, no key, no network."""
    from pocketvlm.demo.demo import PICTURES, run_demo

    with figures_of_a_missed_gate(as_json):
        figures = run_demo(folder, seed, pictures or PICTURES)
    if as_json:
        show(figures, as_json)
    if open_report:
        webbrowser.open((folder / "report" / "report.html").resolve().as_uri())


def _command(stage: Stage) -> Callable[..., None]:
    def command(
        config: ConfigPath = DEFAULT_CONFIG, set_: Overrides = None, as_json: AsJson = False
    ) -> None:
        from pocketvlm.pipeline import alone

        with figures_of_a_missed_gate(as_json):
            figures = alone(load(config, set_), stage)
        show(figures, as_json)

    return command


@app.command(help=TRAIN.help)
def train(
    config: ConfigPath = DEFAULT_CONFIG,
    set_: Overrides = None,
    nproc: Processes = 1,
    as_json: AsJson = False,
) -> None:
    """The stage, in one process or several; `torchrun -m pocketvlm train` starts them itself."""
    from pocketvlm.pipeline import alone

    figures = alone(load(config, set_), TRAIN, nproc)
    if not int(os.environ.get("RANK", 0)):
        show(figures, as_json)


for _stage in (one for one in STAGES if one.name in PLAIN):
    app.command(_stage.name, help=_stage.help)(_command(_stage))
