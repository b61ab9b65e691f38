"""A run that outlives its terminal: started here, looked after by `status`, `logs` and `stop`."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pocketvlm.errors import PocketError, Stopped
from pocketvlm.journal import HANDED_ON
from pocketvlm.pipeline.work import (
    HOLDER,
    WHO,
    at_work,
    holder_of,
    last_run,
    new_log,
    one_at_a_time,
)
from pocketvlm.workspace import Row, Workspace, write_json

if TYPE_CHECKING:
    from pocketvlm.project import Project

MODULE = ("-P", "-m", "pocketvlm")
"""How the program is called: whatever lies in the current folder is none of its modules."""

POLL = 0.2
"""Seconds between two looks at a process or a log."""


def detach(project: Project, arguments: Sequence[str]) -> Row:
    """Start `pocketvlm ARGUMENTS` in a session of its own, which neither the end of the terminal
    nor of ssh reaches; come back when it is under way or done, with state/run.json.

    PocketError with the run's own words and exit code where it has ended badly by then."""
    with one_at_a_time(project):  # a second run is refused here, and needs no log
        log = new_log(project.workspace, "run")
    with log.open("ab") as file:
        child = subprocess.Popen(
            [sys.executable, *MODULE, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=os.environ | {HANDED_ON: str(log)},
            start_new_session=True,
        )
    try:
        while child.poll() is None:
            run = last_run(project.workspace)
            if run and run["pid"] == child.pid and run["state"] == "running":
                return run
            time.sleep(POLL)
    except KeyboardInterrupt:
        raise Stopped(
            f"no longer waited for; it goes on in the background, pid {child.pid}"
        ) from None
    run = last_run(project.workspace)
    if child.returncode == 0 and run:
        return run
    raise Ended(log, child.returncode)


class Ended(PocketError):
    """The run has ended; the message is its error, and where all that it said stands."""

    def __init__(self, log: Path, code: int) -> None:
        said = log.read_text(encoding="utf-8", errors="replace").strip()
        *_, error = re.split(r"^error: ", said, flags=re.MULTILINE)
        super().__init__(f"{error or 'it was killed before it was under way'}\n  log: {log}")
        self.exit_code = code if code > 0 else 1


def end(workspace: Workspace) -> Row | None:
    """Tell whoever is at work in the folder to end after what must not be lost: a training writes
    its checkpoint, the teacher's paid answers are awaited. Who it was; None where nobody is. Who
    has been told is not told again: a second signal would end it at once.

    PocketError where it works on another machine."""
    holder = holder_of(workspace)
    if holder is None:
        return None
    if holder["host"] != socket.gethostname():
        raise PocketError(f"it works on {holder['host']} (pid {holder['pid']}): stop it there")
    if not holder.get("told"):
        write_json(workspace.root / "state" / HOLDER, holder | {"told": True})
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(holder["pid"], signal.SIGTERM)
    return holder


def wait_for(workspace: Workspace, holder: Row) -> None:
    """Until that process is at work no more."""
    while (now := holder_of(workspace)) and all(now[key] == holder[key] for key in WHO):
        time.sleep(POLL)


def lines(workspace: Workspace, last: int, follow: bool) -> Iterator[str]:
    """The last lines of the newest log; with `follow` also those that come, until the run ends.
    PocketError where nothing has run yet."""
    run = last_run(workspace)
    if run is None:
        raise PocketError(f"nothing has run in {workspace.root} yet: `pocketvlm run` writes a log")
    path = workspace.root / run["log"]
    try:
        with path.open("rb") as file:
            rest = b""
            for line in deque(file, maxlen=last):
                rest = line if not line.endswith(b"\n") else b""
                if not rest:
                    yield text_of(line)
            while follow:
                now = last_run(workspace)
                follow = at_work(now) and now is not None and now["log"] == run["log"]
                time.sleep(POLL)  # after asking: what comes with the end is read too
                *whole, rest = (rest + file.read()).split(b"\n")
                yield from map(text_of, whole)
            if rest:
                yield text_of(rest)
    except FileNotFoundError:
        raise PocketError(f"{path} does not exist: somebody has removed the log") from None


def text_of(line: bytes) -> str:
    """A line of the log; a program that was killed in the middle of a letter may have spoilt it."""
    return line.decode(errors="replace").rstrip("\n")
