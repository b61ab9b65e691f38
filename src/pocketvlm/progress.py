"""Progress for people: one bar for anything that takes longer than two seconds. For scripts:
events, one JSON object a line."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")

console = Console(stderr=True, highlight=False, emoji=False)
"""Where people read: standard error, so that `--json` keeps standard output for programs. Text
stays as it is: `:free:` in a model's name is no picture of a sign."""


def say(message: str) -> None:
    """Print one line for people."""
    console.print(message, markup=False, soft_wrap=True)


def ask(question: str) -> bool:
    """A person's answer; what is neither y nor yes is no, and so is the end of the input."""
    console.print(f"{question} [y/N] ", markup=False, soft_wrap=True, end="")
    return sys.stdin.buffer.readline().strip().lower() in (b"y", b"yes")


_events: list[bool] = []
"""Not empty when a script listens."""


def listen() -> None:
    """From now on `emit` prints: the command line calls it for `label --json`."""
    _events.append(True)


def events_wanted() -> bool:
    """Whether a script listens."""
    return bool(_events)


def emit(event: str, **values: Any) -> None:
    """Print one event on standard output, if a script listens."""
    if _events:
        print(json.dumps({"event": event} | values, ensure_ascii=False), flush=True)


def progress_bar(shown: bool = True) -> Progress:
    """The house's bar; its tasks carry a field `note`."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not shown,
    )


@contextmanager
def bar(description: str, total: int, shown: bool = True) -> Iterator[Callable[[str], None]]:
    """Show a bar of `total` steps; the value is a function that advances it by one with a note."""
    with progress_bar(shown) as progress:
        task = progress.add_task(description, total=total, note="")

        def advance(note: str) -> None:
            progress.update(task, advance=1, note=note)

        yield advance


def track(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Yield `items` while a bar of `total` steps advances."""
    with bar(description, total) as advance:
        for item in items:
            yield item
            advance("")
