"""Progress for people: one bar for anything that takes longer than two seconds."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

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

console = Console(stderr=True, highlight=False)
"""Where people read: standard error, so that `--json` keeps standard output for programs."""


def say(message: str) -> None:
    """Print one line for people."""
    console.print(message, markup=False, soft_wrap=True)


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
