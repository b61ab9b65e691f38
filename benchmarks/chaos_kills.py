"""`pocketvlm run` as a process that is killed without warning, at moments that are drawn: some
since its start, some inside of a stage, some just when it has ended."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from pocketvlm.pipeline.stages import STAGES
from pocketvlm.workspace import Row, Workspace

NAMES = [stage.name for stage in STAGES]

OUTPUTS = {stage.name: stage.outputs[-1] for stage in STAGES} | {"convert": "gguf/model-Q8_0.gguf"}
"""What takes its place last in each stage; convert writes into a folder that is there before."""

SHARES = {
    "collect": 4,
    "label": 7,
    "prepare": 4,
    "train": 10,
    "merge": 4,
    "convert": 3,
    "validate": 5,
    "bundle": 3,
}
"""How many kills are meant for each stage."""

Way = Literal["clock", "inside", "output", "done"]

WITHIN: tuple[Way, ...] = ("clock", "inside")
ENDS: tuple[Way, ...] = ("output", "done")
"""How moments are chosen: at a stage's end for the last of its share, after which it is over."""

SOONEST, LATEST = 0.3, 60.0
"""Seconds: the first is still in the imports."""

JUST = {"output": 0.05, "done": 0.5}
"""Seconds after the output has appeared, or the stage's end is logged."""

VERIFYING = 3.0
"""Seconds in which a run with nothing left to do is killed."""

COMMAND = ("-m", "pocketvlm", "run", "-c", "pocketvlm.yaml", "--set", "gates.accuracy=0")
"""How good the demo is, is for demo.py to say; its gate would end a smaller run before bundle."""

LOOK = 0.005
"""Seconds between two looks at what the process has come to."""

MARK = "POCKETVLM_CHAOS"
"""In the environment of everything that a run starts, however it detaches itself."""


@dataclass(frozen=True)
class Aim:
    """The moment of a kill: so many seconds after the process began (`clock`), after a stage has
    begun, after its output has appeared, or after its end is logged."""

    way: Way
    stage: str
    seconds: float
    guard: frozenset[str] = frozenset()
    """Stages that have not been hit yet: it is killed at the latest when one's output appears."""

    def __str__(self) -> str:
        since = {"clock": "the start", "inside": f"{self.stage} began"}
        since |= {"output": f"{self.stage}'s output", "done": f"{self.stage}'s end"}
        return f"{self.seconds:.2f} s after {since[self.way]}"


class Marksman:
    """Draws the moments."""

    def __init__(self, seed: int, seconds: Mapping[str, float]) -> None:
        """`seconds`: what each stage takes when nobody disturbs it."""
        self.random, self.seconds = random.Random(seed), seconds
        self.hit: Counter[str] = Counter()

    def aim(self, ahead: str | None) -> Aim:
        """The moment of the next kill, in the first unfinished stage, `ahead`, or in a later one
        where that one has had its share; what was meant for stages that are over comes last."""
        if ahead is None:
            return Aim("clock", NAMES[-1], self.random.uniform(SOONEST, VERIFYING))
        coming = NAMES[NAMES.index(ahead) :]
        stage = next((one for one in coming if self.hit[one] < SHARES[one]), ahead)
        guard = frozenset(one for one in coming if not self.hit[one])
        last = self.hit[stage] >= SHARES[stage] - 1
        way = self.random.choice(ENDS if last else WITHIN) if self.hit[stage] else "inside"
        if way == "clock":
            low, high = math.log(SOONEST), math.log(LATEST)
            return Aim("clock", ahead, math.exp(self.random.uniform(low, high)), guard)
        if way == "inside":
            longest = min(self.seconds[stage], LATEST)
            return Aim("inside", stage, self.random.uniform(0.0, longest), guard)
        return Aim(way, stage, self.random.uniform(0.0, JUST[way]), guard)


class Running:
    """`pocketvlm run` at work in a session of its own, and what it has come to."""

    def __init__(self, root: Path, log: Path, temporary: Path) -> None:
        self.root, self.log = root, log
        self.stages = root / "logs" / "stages.jsonl"
        self.told = self.stages.stat().st_size if self.stages.is_file() else 0
        self.before = {name: self._stamp(name) for name in NAMES}
        self.seen: dict[tuple[str, str], float] = {}
        """When an event of a stage was first seen: `started`, `output`, `done`."""
        self.at: str | None = None
        """The stage at work."""
        environment = os.environ | {MARK: str(root), "TMPDIR": str(temporary)}
        self.started = time.monotonic()
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, *COMMAND],
                cwd=root,
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )

    def _stamp(self, stage: str) -> tuple[int, int] | None:
        """Changes when a stage's output takes its place; a folder's time changes within it too."""
        path = self.root / OUTPUTS[stage]
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, 0 if path.is_dir() else found.st_mtime_ns

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.started

    def look(self) -> None:
        """See what has happened since the last look."""
        now = time.monotonic()
        if self.at and self._stamp(self.at) != self.before[self.at]:
            self.seen.setdefault((self.at, "output"), now)
        if not self.stages.is_file() or self.stages.stat().st_size <= self.told:
            return
        with self.stages.open("rb") as file:
            file.seek(self.told)
            for line in file.read().splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    break
                self.told += len(line)
                if line.strip():
                    self._hear(json.loads(line), now)

    def _hear(self, row: Row, now: float) -> None:
        begun = row["event"] == "started"
        self.at = row["stage"] if begun else None
        self.seen.setdefault((row["stage"], "started" if begun else "done"), now)

    def due(self, aim: Aim) -> bool:
        """Whether the moment has come."""
        self.look()
        if any((stage, "output") in self.seen for stage in aim.guard):
            return True
        event = "started" if aim.way == "inside" else aim.way
        since = self.started if aim.way == "clock" else self.seen.get((aim.stage, event))
        return since is not None and time.monotonic() - since >= aim.seconds

    def strike(self, aim: Aim) -> bool:
        """Kill it at a moment; False when it ends by itself before."""
        try:
            while self.process.poll() is None:
                if self.due(aim):
                    self.kill()
                    self.look()
                    return True
                time.sleep(LOOK)
            return False
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """Everything of its session, as a power cut does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def finish(self) -> int:
        """Wait for its end; the exit code."""
        try:
            return self.process.wait()
        except BaseException:
            self.kill()
            raise

    @property
    def last_words(self) -> str:
        """The end of what it said."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-5:])


def unfinished(root: Path) -> str | None:
    """The first stage without a manifest."""
    space = Workspace(root)
    return next((name for name in NAMES if not space.manifest(name).is_file()), None)


def strays(root: Path, seconds: float = 5.0) -> list[str]:
    """Processes that killed runs of a workspace left behind, once they have had time to end."""
    found = [one for one in psutil.process_iter() if marked(one, root)]
    _, alive = psutil.wait_procs(found, timeout=seconds)
    return [f"{one.pid} {one.name()}" for one in alive]


def marked(process: psutil.Process, root: Path) -> bool:
    """Whether a run of this workspace has started a process."""
    try:
        return bool(process.environ().get(MARK) == str(root))
    except psutil.Error:
        return False
