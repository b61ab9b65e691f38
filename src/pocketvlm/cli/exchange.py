"""Commands that take data sets and models to other tools, and data sets back."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pocketvlm.cli.options import DEFAULT_CONFIG, AsJson, ConfigPath, Overrides, app, load, show


class Form(StrEnum):
    """How other tools take a data set."""

    IMAGEFOLDER = "imagefolder"
    CONVERSATIONS = "conversations"


class What(StrEnum):
    """What can be pushed."""

    DATASET = "dataset"
    ADAPTER = "adapter"
    MERGED = "merged"


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Where it goes; made anew.")],
    config: ConfigPath = DEFAULT_CONFIG,
    set_: Overrides = None,
    form: Annotated[
        Form, typer.Option("--as", help="For `datasets`, or messages for other trainers.")
    ] = Form.IMAGEFOLDER,
    as_json: AsJson = False,
) -> None:
    """Write the dataset as other tools read it: imagefolder, or conversational JSON Lines."""
    from pocketvlm.exchange import export as write
    from pocketvlm.pipeline.work import one_at_a_time

    project = load(config, set_)
    with one_at_a_time(project):
        figures = write(project, folder, form.value)
    show(figures, as_json)


@app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(help="What `export` wrote, or folders of classes.")],
    config: ConfigPath = DEFAULT_CONFIG,
    set_: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Read a dataset in either form; it enters at `run --from train`."""
    from pocketvlm.exchange import import_dataset
    from pocketvlm.pipeline.work import one_at_a_time

    project = load(config, set_)
    with one_at_a_time(project):
        figures = import_dataset(project, folder)
    show(figures, as_json)


@app.command()
def push(
    what: Annotated[What, typer.Argument(help="The pictures, the adapter or the merged model.")],
    repository: Annotated[str, typer.Argument(help="user/name on the Hugging Face Hub.")],
    config: ConfigPath = DEFAULT_CONFIG,
    set_: Overrides = None,
    private: Annotated[bool, typer.Option("--private", help="Only for you.")] = False,
    as_json: AsJson = False,
) -> None:
    """Upload dataset or model with its card; the token is HF_TOKEN."""
    from pocketvlm.exchange import push_dataset, push_model
    from pocketvlm.pipeline.work import one_at_a_time

    project = load(config, set_)
    with one_at_a_time(project):
        if what is What.DATASET:
            figures = push_dataset(project, repository, private)
        elif what is What.ADAPTER:
            figures = push_model(project, "adapter", repository, private)
        else:
            figures = push_model(project, "merged", repository, private)
    show(figures, as_json)
