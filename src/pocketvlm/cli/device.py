"""Commands about the phone: what it sees, what it answers, what it is given."""

from __future__ import annotations

import json
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


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Pictures to classify.")],
    config: ConfigPath = DEFAULT_CONFIG,
    set_: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Ask the bundle in llama.cpp, as the phone would."""
    from pocketvlm.runtime.predict import predict as ask
    from pocketvlm.runtime.predict import told

    unread = 0
    for row in ask(load(config, set_).workspace.bundle, images):
        unread += "error" in row
        if as_json:
            print(json.dumps(row, ensure_ascii=False))
        elif "error" in row:
            say(f"error: {row['error']}")
        else:
            print(told(row))
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
def inspect(
    files: Annotated[list[Path], typer.Argument(help="GGUF files, also those of other tools.")],
    config: ConfigPath = DEFAULT_CONFIG,
    set_: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Say what GGUF files are, and warn of what would hurt on a device."""
    from pocketvlm.export.inspect import inspect as read
    from pocketvlm.export.inspect import table

    alone = config == DEFAULT_CONFIG and not config.is_file() and not set_
    figures = read(files, None if alone else load(config, set_).contract.hash)
    if as_json:
        show(figures, as_json)
    elif text := table(figures):
        print(text)
    broken = [row["error"] for row in figures["files"] if "error" in row]
    for error in broken:
        say(f"error: {error}")
    if broken:
        raise typer.Exit(1)


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
    from pocketvlm.pipeline.work import one_at_a_time
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
