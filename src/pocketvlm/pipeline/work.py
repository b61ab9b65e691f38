"""One command at a time in a folder, written down while it works and after it has ended."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from filelock import FileLock, Timeout

from pocketvlm.errors import GateMissed, PocketError, Stopped
from pocketvlm.journal import HANDED_ON, Journal, plainly, stand_of, utc_now
from pocketvlm.progress import kept_in, say
from pocketvlm.signals import ended_by_signals
from pocketvlm.workspace import Row, Workspace, read_record, sweep, write_json

if TYPE_CHECKING:
    from pocketvlm.project import Project

HOLDER = "holder.json"

ENDS = {Stopped: "stopped", GateMissed: "gate missed"}
"""How a run is called that ended by one of these; by anything else it `failed`."""

_records: dict[Path, Record] = {}
"""The runs of this process, by their folders."""

PATIENCE = 1.0
"""Seconds that a command waits for the lock: whoever only looks holds it for a moment."""

WHO = ("pid", "began", "host")
"""What tells a process from all others, also from one that gets its number later."""


@contextmanager
def one_at_a_time(project: Project, command: str = "a command") -> Iterator[None]:
    """Two runs in one folder would pay for each answer twice and write over each other; the lock
    ends with the process, however it ends. PocketError names who holds it."""
    path = project.workspace.root / "state" / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(path, timeout=PATIENCE).acquire()
    except Timeout:
        raise PocketError(_taken(project.workspace)) from None
    with lock:
        for folder in (path.parent, project.workspace.answers.parent):
            sweep(folder)
        holder = path.with_name(HOLDER)
        write_json(holder, this_process() | {"command": command, "at": utc_now()})
        try:
            with ended_by_signals():
                yield
        finally:
            with suppress(OSError):
                holder.unlink()


def is_held(workspace: Workspace) -> bool:
    """Whether anybody is at work in a folder. The lock alone knows: a pid may be another process's
    by now, or mean nothing in this container, and clocks are set."""
    path = workspace.root / "state" / "lock"
    try:
        if path.is_file():
            with FileLock(path, timeout=0):
                pass
    except (Timeout, OSError):  # held, or not for us to ask: then the record is believed
        return True
    return False


def holder_of(workspace: Workspace) -> Row | None:
    """Who is at work in a folder: `pid`, `began`, `host`, `command`, `at`. None where nobody is, or
    where it has not said yet."""
    return _record(workspace, HOLDER, (*WHO, "command", "at")) if is_held(workspace) else None


def _taken(workspace: Workspace) -> str:
    holder = holder_of(workspace)
    if holder is None:  # it is about to begin, or to end
        return f"another pocketvlm is at work in {workspace.root}: wait for it, or stop it"
    where = f" on {holder['host']}" if holder["host"] != socket.gethostname() else ""
    return (
        f"another pocketvlm is at work in {workspace.root}: `{holder['command']}`, pid "
        f"{holder['pid']}{where}, since {plainly(holder['at'])}: wait for it, or end it with "
        "`pocketvlm stop`"
    )


def this_process() -> Row:
    """This process, as records name it."""
    return {
        "pid": os.getpid(),
        "began": psutil.Process().create_time(),
        "host": socket.gethostname(),
    }


def _record(workspace: Workspace, name: str, keys: Sequence[str]) -> Row | None:
    """A small file of state/ that only informs: where it is broken, there is none."""
    try:
        row = read_record(workspace.root / "state" / name)
        plainly(row["at"])
        return row if all(key in row for key in keys) else None
    except (PocketError, OSError, KeyError, TypeError, ValueError):
        return None


@contextmanager
def recorded(project: Project, command: str, stages: Sequence[str]) -> Iterator[Record]:
    """Work alone in the folder; state/run.json and a log of its own say what became of it. Inside
    of a run of the same folder, that one's."""
    workspace = project.workspace
    if workspace.root in _records:
        yield _records[workspace.root]
        return
    with one_at_a_time(project, command):
        before, log = last_run(workspace), log_of(workspace, command)
        journal = Journal(log, stand_of(workspace.root))
        record = _records[workspace.root] = Record(workspace, command, stages, journal)
        try:
            with handing_on(log), kept_in(journal), record.kept():
                if before and before["state"] == "killed":
                    say(_was_killed(before))
                yield record
        finally:
            del _records[workspace.root]


class Record:
    """state/run.json: who works on what since when, and how it ended."""

    def __init__(
        self, workspace: Workspace, command: str, stages: Sequence[str], journal: Journal
    ) -> None:
        self.path, self.journal = workspace.root / "state" / "run.json", journal
        self.gate = ""
        """What was missed where that does not end the work."""
        self.row: Row = this_process() | {
            "command": command,
            "stages": list(stages),
            "log": journal.log.relative_to(workspace.root).as_posix(),
            "at": utc_now(),
            "state": "starting",
            "ended": None,
            "message": None,
        }

    @property
    def starting(self) -> bool:
        """Whether nothing has been done yet."""
        return bool(self.row["state"] == "starting")

    def under_way(self) -> None:
        """Everything that can be known before the first stage is in order."""
        self._write(state="running")

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Write how it ended, whatever ended it."""
        self._write()
        try:
            yield
        except KeyboardInterrupt as error:
            self._end("stopped", str(error) or "stopped by Ctrl-C")
            raise
        except BaseException as error:
            states = (state for kind, state in ENDS.items() if isinstance(error, kind))
            self._end(next(states, "failed"), str(error) or type(error).__name__)
            raise
        self._end("gate missed" if self.gate else "done", self.gate or None)

    def _end(self, state: str, message: str | None) -> None:
        said = message and (message if message.startswith(state) else f"{state}: {message}")
        self.journal.line(said or state)
        changes = {"state": state, "ended": utc_now(), "message": message}
        try:
            self._write(**changes)
        except OSError:  # a full disk has its own message, which must not be lost
            with suppress(OSError):  # in place: its blocks are there
                self.path.write_text(json.dumps(self.row), encoding="utf-8")

    def _write(self, **changes: object) -> None:
        self.row |= changes
        write_json(self.path, self.row)


def last_run(workspace: Workspace) -> Row | None:
    """state/run.json as it is true now: what was at work and holds no lock was `killed`."""
    row = _record(workspace, "run.json", (*WHO, "command", "log", "state", "ended", "message"))
    if row and at_work(row):
        holder = holder_of(workspace)
        if holder is None or any(holder[key] != row[key] for key in WHO):
            row["state"] = "killed"
    return row


def at_work(run: Row | None) -> bool:
    """Whether a record is of a run that has not ended."""
    return run is not None and run["state"] in ("starting", "running")


def _was_killed(before: Row) -> str:
    return (
        f"The run of {plainly(before['at'])} (pid {before['pid']}) was ended from outside, without "
        "a word: killed, out of memory, a full disk, or the power was cut. This one goes on from "
        "there."
    )


def log_of(workspace: Workspace, command: str) -> Path:
    """The log that a detached run was given, or a new one that no other run writes."""
    given = os.environ.get(HANDED_ON)
    if given and Path(given).parent == workspace.logs:
        return Path(given)
    return new_log(workspace, command)


def new_log(workspace: Workspace, command: str) -> Path:
    """A name that no log has."""
    name = f"{command.split()[0]}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    path, more = workspace.logs / f"{name}.log", 2
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            path.touch(exist_ok=False)
            return path
        except FileExistsError:
            path, more = path.with_name(f"{name}-{more}.log"), more + 1


@contextmanager
def handing_on(log: Path) -> Iterator[None]:
    """Let the processes of a training find the log."""
    before = os.environ.get(HANDED_ON)
    os.environ[HANDED_ON] = str(log)
    try:
        yield
    finally:
        os.environ.pop(HANDED_ON)
        if before:
            os.environ[HANDED_ON] = before
