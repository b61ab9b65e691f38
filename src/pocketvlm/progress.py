"""Progress for people: one bar for anything that takes longer than two seconds. For scripts:
events, one JSON object a line."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pocketvlm.journal import HANDED_ON, SECOND, Journal, in_words, stand_of
from pocketvlm.signals import end_if_told

T = TypeVar("T")

LINE = 30.0
"""Seconds between two lines about the same work where nobody watches, and in the log of a run: a
log is no place for a bar."""

console = Console(stderr=True, highlight=False, emoji=False)
"""Where people read: standard error, so that `--json` keeps standard output for programs. Text
stays as it is: `:free:` in a model's name is no picture of a sign."""


def say(message: str) -> None:
    """Print one line for people, and write it into the log of a run."""
    console.print(message, markup=False, soft_wrap=True)
    for journal in _journals:
        journal.line(message)


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


_journals: list[Journal] = []
"""Not empty while a run keeps one."""


@contextmanager
def kept_in(journal: Journal) -> Iterator[None]:
    """From here on what is said, measured and done is written down too."""
    quiet = console.quiet
    console.quiet = quiet or journal.is_standard_error()  # it would be there twice
    _journals.append(journal)
    try:
        yield
    finally:
        _journals.remove(journal)
        console.quiet = quiet


def handed_on(root: Path | None) -> AbstractContextManager[None]:
    """In a process that a run has started: go on with the run's log, or with none without a folder,
    and with nothing that a fork has taken along."""
    _journals.clear()
    log = os.environ.get(HANDED_ON)
    return kept_in(Journal.going_on(Path(log), stand_of(root))) if log and root else nullcontext()


def enter(stage: str) -> None:
    """A stage of a run begins; of a run around it, which is another folder's, it is no stage."""
    for journal in _journals[-1:]:
        journal.enter(stage)


def measured(**figures: float) -> None:
    """The newest figures of the work, for `status`."""
    for journal in _journals:
        journal.measured(figures)


def watched() -> bool:
    """Whether somebody looks at a terminal that can draw; FORCE_COLOR makes none of a file."""
    return console.is_interactive and console.file.isatty()


class Bar(Progress):
    """A bar that also tells the log and `status` how far it is. Its tasks carry a field `note`, and
    may carry `eta` in seconds where they know better than the bar."""

    lined: float | None = None
    told = 0.0

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Change a task, and tell where it stands."""
        super().update(task_id, **changes)
        self._tell(self._tasks[task_id])

    def _tell(self, task: Task) -> None:
        now = time.monotonic()
        self.lined = self.lined or now
        if now - self.told < SECOND and now - self.lined < LINE:
            return  # the time that is left is worked out from a thousand samples
        self.told = now
        eta = task.fields["eta"] if "eta" in task.fields else task.time_remaining  # noqa: SIM401
        stand = (task.description, task.completed, task.total, eta, str(task.fields["note"]))
        for journal in _journals:
            journal.stands(*stand)
        if now - self.lined < LINE:
            return
        self.lined, line = now, f"  {in_words(*stand)}"
        if not (watched() or events_wanted()):
            say(line)
        else:
            for journal in _journals:
                journal.line(line)


def progress_bar(shown: bool = True) -> Bar:
    """The house's bar."""
    return Bar(
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
            end_if_told()

        yield advance


def track(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Yield `items` while a bar of `total` steps advances."""
    with bar(description, total) as advance:
        for item in items:
            yield item
            advance("")
