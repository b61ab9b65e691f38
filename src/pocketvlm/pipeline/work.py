"""One command at a time in a folder, written down while it works and after it has ended."""

from __future__ import annotations

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
from pocketvlm.signals import ended_by_sigterm
from pocketvlm.workspace import Row, Workspace, read_json, sweep, write_json

if TYPE_CHECKING:
    from pocketvlm.project import Project

ENDS = {Stopped: "stopped", GateMissed: "gate missed", KeyboardInterrupt: "stopped"}
"""How a run is called that ended by one of these; by anything else it `failed`."""

_records: dict[Path, Record] = {}
"""The runs of this process, by their folders."""

TICK = 0.01
"""Seconds by which two readings of the time at which a process began may differ."""


@contextmanager
def one_at_a_time(project: Project, command: str = "a command") -> Iterator[None]:
    """Two runs in one folder would pay for each answer twice and write over each other; the lock
    ends with the process, however it ends. PocketError names who holds it."""
    path = project.workspace.root / "state" / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(path, timeout=0).acquire()
    except Timeout:
        raise PocketError(_taken(project.workspace)) from None
    with lock:
        for folder in (path.parent, project.workspace.answers.parent):
            sweep(folder)
        holder = path.with_name("holder.json")
        write_json(holder, this_process() | {"command": command, "at": utc_now()})
        try:
            yield
        finally:
            with suppress(OSError):
                holder.unlink()


def holder_of(workspace: Workspace) -> Row | None:
    """Who is at work in a folder: `pid`, `began`, `host`, `command`, `at`. None where nobody is;
    what a killed process has left is nobody."""
    path = workspace.root / "state" / "holder.json"
    try:
        holder: Row = read_json(path)
    except PocketError:
        return None
    return holder if lives(holder) else None


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
    """What tells this process from all others, also from one that gets its number later."""
    return {
        "pid": os.getpid(),
        "began": psutil.Process().create_time(),
        "host": socket.gethostname(),
    }


def lives(process: Row) -> bool:
    """Whether a recorded process is still there. Of another machine that shares the folder nothing
    can be known: it is taken as alive."""
    if process["host"] != socket.gethostname():
        return True
    try:
        found = psutil.Process(process["pid"])
        same = abs(found.create_time() - process["began"]) < TICK
        return bool(same and found.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


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
            with handing_on(log), kept_in(journal), record.kept(), ended_by_sigterm():
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
        except BaseException as error:
            states = (state for kind, state in ENDS.items() if isinstance(error, kind))
            self._end(next(states, "failed"), str(error) or type(error).__name__)
            raise
        self._end("done", None)

    def _end(self, state: str, message: str | None) -> None:
        said = message and (message if message.startswith(state) else f"{state}: {message}")
        self.journal.line(said or state)
        with suppress(OSError):  # a full disk has its own message, which must not be lost
            self._write(state=state, ended=utc_now(), message=message)

    def _write(self, **changes: object) -> None:
        self.row |= changes
        write_json(self.path, self.row)


def last_run(workspace: Workspace) -> Row | None:
    """state/run.json as it is true now: what was running and is gone was `killed`."""
    path = workspace.root / "state" / "run.json"
    if not path.is_file():
        return None
    row: Row = read_json(path)
    if at_work(row) and not lives(row):
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
    while path.exists():
        path, more = path.with_name(f"{name}-{more}.log"), more + 1
    return path


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
