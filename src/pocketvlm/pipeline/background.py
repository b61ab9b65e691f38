"""A run that outlives its terminal: started here, looked after by `status`, `logs` and `stop`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING

import psutil

from pocketvlm.errors import PocketError
from pocketvlm.journal import HANDED_ON
from pocketvlm.pipeline.work import at_work, holder_of, last_run, lives, new_log, one_at_a_time
from pocketvlm.workspace import Row, Workspace

if TYPE_CHECKING:
    from pocketvlm.project import Project

POLL = 0.2
"""Seconds between two looks at a process or a log."""

TAIL = 40
"""Lines of a log that are shown where nobody says how many."""


def detach(project: Project, arguments: Sequence[str]) -> Row:
    """Start `pocketvlm ARGUMENTS` in a session of its own, which neither the end of the terminal
    nor of ssh reaches; come back when it is under way or done, with state/run.json.

    PocketError, and the exit code of the run, where it ended before: its own words are shown."""
    with one_at_a_time(project):  # a second run is refused here, and needs no log
        log = new_log(project.workspace, "run")
        log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        child = subprocess.Popen(
            [sys.executable, "-m", "pocketvlm", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=os.environ | {HANDED_ON: str(log)},
            start_new_session=True,
        )
    while child.poll() is None:
        run = last_run(project.workspace)
        if run and run["pid"] == child.pid and run["state"] != "starting":
            return run
        time.sleep(POLL)
    run = last_run(project.workspace)
    if child.returncode == 0 and run:
        return run
    raise Ended(log.read_text(encoding="utf-8", errors="replace").rstrip(), child.returncode)


class Ended(PocketError):
    """The run ended before it was under way; the message is its log."""

    def __init__(self, log: str, code: int) -> None:
        super().__init__(log)
        self.exit_code = code if code > 0 else 1


def end(workspace: Workspace) -> Row | None:
    """Tell whoever is at work in the folder to end after what must not be lost: a training writes
    its checkpoint, the teacher's paid answers are awaited. Who it was; None where nobody is.

    PocketError where it works on another machine."""
    holder = holder_of(workspace)
    if holder is None:
        return None
    if holder["host"] != socket.gethostname():
        raise PocketError(f"it works on {holder['host']} (pid {holder['pid']}): stop it there")
    psutil.Process(holder["pid"]).terminate()
    return holder


def wait_for(holder: Row) -> None:
    """Until the process is gone."""
    while lives(holder):
        time.sleep(POLL)


def lines(workspace: Workspace, last: int, follow: bool) -> Iterator[str]:
    """The last lines of the newest log; with `follow` also those that come, until the run ends.
    PocketError where nothing has run yet."""
    run = last_run(workspace)
    if run is None:
        raise PocketError(f"nothing has run in {workspace.root} yet: `pocketvlm run` writes a log")
    path = workspace.root / run["log"]
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from file.read().splitlines()[-last:]
            while follow:
                follow = at_work(last_run(workspace))
                time.sleep(POLL)  # after asking: what comes with the end is read too
                yield from whole_lines(file)
    except FileNotFoundError:
        raise PocketError(f"{path} does not exist: somebody has removed the log") from None


def whole_lines(file: IO[str]) -> Iterator[str]:
    """What was written since the last look; half a line waits for its other half."""
    while line := file.readline():
        if not line.endswith("\n"):
            file.seek(file.tell() - len(line.encode()))
            return
        yield line.rstrip("\n")
