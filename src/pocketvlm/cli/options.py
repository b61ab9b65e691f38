"""What the commands share: options, the project, and how figures are shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pocketvlm.errors import GateMissed

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

DEFAULT_CONFIG = Path("pocketvlm.yaml")


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
