"""What a command leaves behind while it works: a log with time stamps, and where it stands now."""

import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HANDED_ON = "POCKETVLM_LOG"
"""In the environment of a process that belongs to a run: the log they share."""

SECOND = 1.0
"""Between two writings of where it stands: often enough to watch, too rare to cost anything."""


@dataclass
class Journal:
    """A log that people read and a small file that `status` reads. Neither may stop the work: a
    full disk ends it where something of value is written."""

    log: Path
    stand: Path
    now: dict[str, Any] = field(default_factory=dict)
    """What `stand` holds: stage, task, done, total, eta_seconds, note, figures, at."""
    written: float = 0.0

    @classmethod
    def going_on(cls, log: Path, stand: Path) -> "Journal":
        """Another process's journal, taken over where it stands."""
        with suppress(OSError, ValueError):
            return cls(log, stand, json.loads(stand.read_text(encoding="utf-8")))
        return cls(log, stand)

    def line(self, message: str) -> None:
        """Append a message to the log, each line with its time."""
        at = plainly(utc_now())
        text = "".join(f"{at} {line}".rstrip() + "\n" for line in message.splitlines() or [""])
        with suppress(OSError):
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)

    def enter(self, stage: str) -> None:
        """A stage begins; what was measured before belongs to another one."""
        self.now = {"stage": stage, "since": utc_now(), "figures": {}}
        self._write()

    def measured(self, figures: Mapping[str, float]) -> None:
        """The newest figures of the work, by name."""
        self.now.setdefault("figures", {}).update(figures)
        self._write_now_and_then()

    def stands(
        self, task: str, done: float, total: float | None, eta: float | None, note: str
    ) -> None:
        """How far the work is."""
        self.now |= {"task": task, "done": done, "total": total, "note": note}
        self.now["eta_seconds"] = None if eta is None else round(eta, 1)
        self._write_now_and_then()

    def _write_now_and_then(self) -> None:
        if time.monotonic() - self.written >= SECOND:
            self._write()

    def _write(self) -> None:
        """Atomic, but not forced to the disk: it is worth nothing after a power cut."""
        self.written = time.monotonic()
        partial = self.stand.with_name(f".{self.stand.name}.{os.getpid()}")
        with suppress(OSError):
            self.stand.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(self.now | {"at": utc_now()}), encoding="utf-8")
            partial.replace(self.stand)

    def is_standard_error(self) -> bool:
        """Whether everything the process says lands in the log anyway."""
        with suppress(OSError, ValueError, AttributeError):
            return os.path.samestat(os.fstat(sys.stderr.fileno()), self.log.stat())
        return False


def stand_of(root: Path) -> Path:
    """Where a workspace's run says how far it is."""
    return root / "state" / "progress.json"


def in_words(task: str, done: float, total: float | None, eta: float | None, note: str) -> str:
    """Where work stands, for people: what it is, how far, its note, how long it still takes."""
    far = f"{task} {done:,.0f} of {total:,.0f}" if total else task
    left = f"{duration(max(1.0, eta))} left" if eta and done != total else ""
    return "; ".join(part for part in (far, note, left) if part)


def duration(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f}".removesuffix(".0") + " h"


def utc_now() -> str:
    """The time as the house's files have it: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def plainly(at: str) -> str:
    """A time of the house's files, for people: 2026-11-26 11:02:50Z."""
    return f"{datetime.fromisoformat(at):%Y-%m-%d %H:%M:%SZ}"
