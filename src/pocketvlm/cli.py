"""The commands: thin, no logic. Heavy rooms are imported when a command needs them."""

from __future__ import annotations

import io
import json
import sys
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pocketvlm import __version__
from pocketvlm.errors import GateMissed, PocketError
from pocketvlm.pipeline.stages import STAGES, Stage
from pocketvlm.progress import say

if TYPE_CHECKING:
    from pocketvlm.project import Project

app = typer.Typer(
    help="Teach a phone-sized vision-language model one job, and prove that the phone does it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigPath = Annotated[Path, typer.Option("-c", "--config", help="The project's configuration.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override one value: section.key=value.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")]
Yes = Annotated[
    bool,
    typer.Option("--yes", help="Agree to pay again for pictures answered under another prompt."),
]
INTERRUPTED = 130
"""What typer exits with after Ctrl-C."""

DEFAULT_CONFIG = Path("pocketvlm.yaml")


def main() -> None:
    """Entry point: a user's mistake becomes one line and an exit code, not a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that knows fewer letters
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except PocketError as error:
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


def load(config: Path, overrides: list[str] | None, agreed: bool = False) -> Project:
    """The project of a configuration file."""
    from pocketvlm.project import Project

    return Project.load(config, tuple(overrides or ()), agreed)


def show(figures: dict[str, Any], as_json: bool) -> None:
    """Figures for people, one a line, or for programs."""
    if as_json:
        print(json.dumps(figures, ensure_ascii=False))
        return
    for name, value in figures.items():
        print(f"{name}: {value if isinstance(value, str) else json.dumps(value)}")


@contextmanager
def figures_of_a_missed_gate(as_json: bool) -> Iterator[None]:
    """What missed the gate has been measured all the same: programs get it, people the message."""
    try:
        yield
    except GateMissed as missed:
        if as_json:
            show(missed.figures, as_json)
        raise


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
    """Check runtime, base, labels, pictures and teacher's key before anything runs."""
    from pocketvlm.pipeline.doctor import examine

    facts, problems = examine(load(config, set_))
    told = [str(problem) for problem in problems]
    show(facts | {"problems": told} if as_json else facts, as_json)
    for problem in told:
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
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Run all stages; what is up to date is skipped."""
    from pocketvlm.pipeline import run as run_stages

    if vision_sizes is not None:
        from pocketvlm.errors import ConfigError
        from pocketvlm.pipeline.sizes import check_sizes, compare_sizes, read_sides

        if first or last:
            raise ConfigError("--vision-sizes goes the whole way: leave --from and --until out")
        compared = compare_sizes(load(config, set_, yes), read_sides(vision_sizes), force)
        if as_json:
            show(compared, as_json)
        else:
            from pocketvlm.pipeline.sizes_page import table

            print(table(compared))
        return check_sizes(compared)

    with figures_of_a_missed_gate(as_json):
        figures = run_stages(load(config, set_, yes), first, last, force)
    if as_json:
        show(figures, as_json)


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


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Pictures to classify.")],
    config: ConfigPath = DEFAULT_CONFIG,
    set_: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Ask the bundle in llama.cpp, as the phone would."""
    from pocketvlm.runtime.predict import predict as ask

    unread = 0
    for row in ask(load(config, set_).workspace.bundle, images):
        unread += "error" in row
        if as_json:
            print(json.dumps(row, ensure_ascii=False))
        elif "error" in row:
            say(f"error: {row['error']}")
        else:
            said = row["label"] or f"no label, but {row['text']!r}"
            print(f"{row['image']}: {said} ({row['ms']:.0f} ms)")
    if unread:
        raise typer.Exit(1)


@app.command()
def probe(
    config: ConfigPath = DEFAULT_CONFIG,
    set_: Overrides = None,
    model: Annotated[Path | None, typer.Option(help="A text model's GGUF file.")] = None,
    mmproj: Annotated[Path | None, typer.Option(help="Its vision file.")] = None,
    image: Annotated[Path | None, typer.Option(help="The picture that is shown.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what this llama.cpp really does with a picture: tiles, tokens, pixels, milliseconds."""
    from pocketvlm.runtime.probe import ask_build, sentences

    alone = config == DEFAULT_CONFIG and not config.is_file() and not set_
    project = None if alone else load(config, set_)
    figures = ask_build(project, model, mmproj, image)
    if as_json:
        show(figures, as_json)
    else:
        print(sentences(figures))


@app.command()
def audit(
    config: ConfigPath = DEFAULT_CONFIG,
    set_: Overrides = None,
    pictures: Annotated[
        int | None, typer.Option(min=1, help="How many pictures.", show_default="audit.pictures")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare torch with llama.cpp level by level, and name the first that differs."""
    from pocketvlm.pipeline.run import one_at_a_time
    from pocketvlm.validate.audit import audit as compare
    from pocketvlm.validate.audit import check_audit, table

    project = load(config, set_)
    with one_at_a_time(project):
        figures = compare(project, pictures or project.config.audit.pictures)
    if as_json:
        show(figures, as_json)
    else:
        print(table(figures))
    check_audit(figures)


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


@app.command()
def bundle(
    config: ConfigPath = DEFAULT_CONFIG,
    set_: Overrides = None,
    check: Annotated[
        Path | None,
        typer.Option("--check", help="Check this bundle instead: checksums and golden pictures."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Pack what the app takes, or check a bundle that is there."""
    from pocketvlm.bundle.check import check_bundle
    from pocketvlm.pipeline import alone

    with figures_of_a_missed_gate(as_json):
        if check is not None:
            figures = check_bundle(check)
        else:
            figures = alone(load(config, set_), STAGES[-1])
    show(figures, as_json)


def _command(stage: Stage) -> Callable[..., None]:
    def command(
        config: ConfigPath = DEFAULT_CONFIG, set_: Overrides = None, as_json: AsJson = False
    ) -> None:
        from pocketvlm.pipeline import alone

        with figures_of_a_missed_gate(as_json):
            figures = alone(load(config, set_), stage)
        show(figures, as_json)

    return command


for _stage in (STAGES[0], *STAGES[2:-1]):  # label and bundle have options of their own
    app.command(_stage.name, help=_stage.help)(_command(_stage))
