"""The commands that a document shows, held against the command line as it is."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
import typer.main
from typer.exceptions import TyperException

from pocketvlm.cli import app
from pocketvlm.config import load_config

NAME = "pocketvlm"
GROUP: Any = typer.main.get_command(app)
"""Any: typer's own class, which is not public."""

STARTERS = {"nohup", "exec", "env", "srun", "time"}
"""Programs that start the one named after them."""


def simple_commands(text: str) -> Iterator[list[str]]:
    """The words of each simple command of a shell script; redirections, pipes, lists and
    subshells end one. Variables set for it alone stay in front."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in lexer:
            if set(word) <= set("();<>|&"):
                if words:
                    yield words
                words = []
            else:
                words.append(word)
        if words:
            yield words


def arguments(words: list[str]) -> list[str] | None:
    """What follows `pocketvlm` in a simple command, however it is started; None where another
    program is run."""
    rest = list(words)
    while rest and (re.fullmatch(r"\w+=.*", rest[0]) or rest[0] in STARTERS):
        rest.pop(0)
    if not rest:
        return None
    if Path(rest[0]).name == NAME:
        return rest[1:]
    if "-m" in rest and rest[rest.index("-m") + 1 :][:1] == [NAME]:  # torchrun, python
        return rest[rest.index("-m") + 2 :]
    return None


def check(given: list[str], folder: Path) -> None:
    """AssertionError where today's command line would refuse these arguments, or the
    configuration a `--set`; nothing is run. `folder` is for an empty configuration."""
    command, rest = GROUP, list(given)
    while hasattr(command, "commands") and rest and not rest[0].startswith("--"):
        hosts = sum(one.param_type_name == "argument" for one in command.params)
        if len(rest) <= hosts:
            return  # `remote` alone
        name, rest = rest[hosts], rest[hosts + 1 :]
        assert name in command.commands, f"there is no command {name!r}: {given}"
        command = command.commands[name]
    try:
        with command.make_context(NAME, rest) as context:
            overrides = context.params.get("set_")
    except typer.Exit:  # --help, --version
        return
    except TyperException as error:
        raise AssertionError(f"{' '.join(given)}: {error}") from None
    if overrides:
        empty = folder / "pocketvlm.yaml"
        empty.write_text("")
        load_config(empty, tuple(overrides))


def check_named(given: list[str], folder: Path) -> None:
    """The same for a command within a line, where the last argument may be left out."""
    try:
        check(given, folder)
    except AssertionError:
        check([*given, "1"], folder)


def commands_of(spans: Iterator[str]) -> Iterator[list[str]]:
    """Commands within lines: `pocketvlm run --force`, and what is written as one without its
    name, such as `run --detach`."""
    for span in spans:
        first, *rest = span.split(" ")
        if Path(first).name == NAME and rest:
            yield from filter(None, map(arguments, simple_commands(span)))
        elif first in GROUP.commands and rest and any(word.startswith("--") for word in rest):
            yield shlex.split(span)
