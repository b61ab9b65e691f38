"""What people and scripts see while the teacher is asked."""

import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Self

from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from pocketvlm.journal import duration
from pocketvlm.label.money import Budget
from pocketvlm.label.pace import Pace
from pocketvlm.progress import Bar, console, emit, events_wanted, measured, watched
from pocketvlm.workspace import Row

RECENT = 30.0
"""Seconds over which rates are measured."""

EVENT = 1.0
"""Seconds between two events of `--json`."""

STATUSES = ("failed", "malformed", "refused", "rejected", "none")
"""Counted before the labels: where the line is short they must not be what is cut off."""


class Board(Bar):
    """The bar, and on a line of its own below it where the asking stands."""

    def __init__(self, shown: bool) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )
        super().__init__(*columns, console=console, disable=not shown)

    def get_renderables(self) -> Iterable[RenderableType]:
        """What is drawn."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            yield Text(fit([task.fields["note"]], console.width), no_wrap=True, overflow="ellipsis")


class Rate:
    """How often something happens, lately."""

    def __init__(self, now: float) -> None:
        self.started, self.times, self.count = now, deque[float](), 0

    def add(self, now: float) -> None:
        """It has happened."""
        self.times.append(now)
        self.count += 1
        self._forget(now)

    def a_second(self, now: float) -> float:
        """Of the last half minute; of all the time where nothing has happened in that."""
        self._forget(now)
        passed = now - self.started
        if not self.times:
            return self.count / max(1.0, passed)
        return len(self.times) / max(1.0, min(RECENT, passed))

    def _forget(self, now: float) -> None:
        while self.times and self.times[0] < now - RECENT:
            self.times.popleft()


class Live:
    """One teacher's questions: a bar with rate, limit, cost and counts; lines in a log; events.
    A batch has no pace."""

    def __init__(self, name: str, total: int, pace: Pace | None, budget: Budget) -> None:
        self.name, self.total, self.pace, self.budget = name, total, pace, budget
        self.counts: Counter[str] = Counter()
        self.done = 0
        self.told = time.monotonic()
        self.calls, self.answers = Rate(self.told), Rate(self.told)
        self.board = Board(watched() and not events_wanted())
        self.task = self.board.add_task("Labelling", total=total, note="", left="", eta=None)

    def __enter__(self) -> Self:
        self.board.start()
        return self

    def __exit__(self, *_: object) -> None:
        now = time.monotonic()
        self._draw(now, "")
        self.board.stop()
        with suppress(BrokenPipeError):  # what ended the asking is the error to tell
            self._tell(now)

    def called(self) -> None:
        """A call came back."""
        self.calls.add(time.monotonic())

    def saw(self, answer: Row) -> None:
        """A question has its answer, or none for this run."""
        self.done += 1
        self.counts[kind_of(answer)] += 1
        self.answers.add(time.monotonic())

    def tick(self, state: str = "") -> None:
        """Show where it stands; `state` says what else is going on."""
        now = time.monotonic()
        self._draw(now, state)
        if events_wanted() and now - self.told >= EVENT:
            self._tell(now)

    def eta(self, now: float) -> float | None:
        """Seconds to go at the present rate, after the pause that the server has asked for. The
        answers of a batch come all at once: how long it takes they do not tell."""
        rate = self.answers.a_second(now) if self.pace else 0.0
        return self.pause(now) + (self.total - self.done) / rate if rate else None

    def pause(self, now: float) -> float:
        """Seconds that the server still wants to be left alone."""
        return max(0.0, self.pace.paused_until - now) if self.pace else 0.0

    def parts(self, now: float, state: str = "") -> list[str]:
        """What is going on, rate and limit, cost, counts: the most important first."""
        pause = self.pause(now)
        spent, cap = self.budget.ledger.spent, self.budget.cap
        cost = f"{spent:.4f} of {cap:g} USD" if cap else f"{spent:.4f} USD" if spent else ""
        return [
            state.strip().rstrip(";"),
            f"the server asks to wait {duration(pause)}" if pause >= 1 else "",
            self.speed(now),
            cost,
            self.counted(),
        ]

    def speed(self, now: float) -> str:
        """Rate and limit."""
        if self.pace is None:
            return ""
        limit = f" of {self.pace.limit:.3g}" if self.pace.limit else ""
        rate = self.calls.a_second(now)
        return f"{rate:.3g}{limit} a second, {self.pace.in_flight} in flight"

    def counted(self) -> str:
        """How many of each: what gave no label first, then the labels, the most frequent first."""
        kinds = self.counts.most_common()
        kinds.sort(key=lambda kind: kind[0] not in STATUSES)
        return ", ".join(f"{name} {count}" for name, count in kinds)

    def _draw(self, now: float, state: str) -> None:
        note = "; ".join(part for part in self.parts(now, state) if part)
        eta = None if state else self.eta(now)  # what else goes on has no rate
        left = f"{duration(max(1.0, eta))} left" if eta and self.done < self.total else ""
        measured(usd=self.budget.ledger.spent)
        self.board.update(self.task, completed=self.done, note=note, left=left, eta=eta)

    def _tell(self, now: float) -> None:
        self.told = now
        eta = self.eta(now)
        emit(
            "progress",
            teacher=self.name,
            done=self.done,
            total=self.total,
            rate=round(self.calls.a_second(now), 3),
            limit=self.pace and self.pace.limit,
            in_flight=self.pace and self.pace.in_flight,
            paused_seconds=round(self.pause(now), 1),
            usd=round(self.budget.ledger.spent, 6),
            reserved_usd=round(self.budget.ledger.reserved, 6),
            budget_usd=self.budget.cap,
            eta_seconds=eta and round(eta, 1),
            counts=dict(self.counts),
        )


def kind_of(answer: Row) -> str:
    """What an answer is counted as: its label, or why it has none."""
    return str(answer["label"] if answer["status"] == "ok" else answer["status"])


def fit(parts: Sequence[str], width: int) -> str:
    """The parts as one line: shorter words where it is too long, then the last words left out."""
    line = "; ".join(parts)
    if len(line) > width:
        line = line.replace(" a second", "/s")
    if len(line) > width:
        whole = line[: width - 1].rfind(" ") + 1  # where there is none: cut anywhere
        line = f"{line[: whole or width - 1]}…"
    return line
