"""`pocketvlm label` as a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Self

from pocketvlm.project import Project

# A shell starts background jobs with SIGINT ignored, and what they start inherits that.
COMMAND = """
import signal
from pocketvlm.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""
PATIENCE = 60.0


class Labelling:
    """The process while the block runs; it is killed at the end where it has not ended."""

    def __init__(self, project: Project, *options: str, terminal: int | None = None) -> None:
        self.project = project
        self.errors = (project.workspace.root / "stderr").open("w+")
        command = [sys.executable, "-c", COMMAND, "label", "-c", "pocketvlm.yaml", *options]
        self.process = subprocess.Popen(
            command,
            cwd=project.workspace.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if terminal is None else terminal,
            stderr=self.errors if terminal is None else terminal,
            text=True,
            env=os.environ | {"TERM": "xterm"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()

    def wait_for(self, true: Callable[[], bool]) -> None:
        """Come back when it is so."""
        deadline = time.monotonic() + PATIENCE
        while not true():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.01)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for the end; the exit code."""
        return self.process.wait(timeout=PATIENCE)

    def said(self) -> str:
        """Standard error so far."""
        self.errors.flush()
        return (self.project.workspace.root / "stderr").read_text()

    def answered(self) -> int:
        """Whole answer rows so far."""
        path = self.project.workspace.answers
        return path.read_bytes().count(b'"kind": "answer"') if path.is_file() else 0

    def event(self) -> dict[str, Any]:
        """The next line of standard output."""
        assert self.process.stdout is not None
        event: dict[str, Any] = json.loads(self.process.stdout.readline())
        return event
