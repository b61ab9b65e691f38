"""When the steps of a Trainer end, and what memory its process holds (Linux).

    python benchmarks/clock.py STEPS COMMAND...

runs `pocketvlm COMMAND...` under the clock, ends its training after STEPS steps, and ends by
printing what was measured as one line of JSON.
"""

import atexit
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import DEFAULT_CALLBACKS


class Clock(TrainerCallback):  # type: ignore[misc]  # transformers has no complete types
    """Notes when each optimiser step ends; after `most` of them the training is over."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.begun = 0.0
        self.ends: list[float] = []
        self.work: list[float] = []
        self.anonymous = 0

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """The first batch is there."""
        if not self.begun:
            self.begun = time.time()
            self.work.append(time.process_time())

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """The optimiser has moved."""
        self.ends.append(time.time())
        self.work.append(time.process_time())
        self.anonymous = max(self.anonymous, memory("RssAnon"))
        if len(self.ends) >= self.most:
            control.should_training_stop = True

    def tell(self, **more: Any) -> None:
        """Print one line of JSON: `begun`, seconds since 1970; `steps`, the seconds from one step's
        end to the next, so that reading the next batch counts; `work`, those of all processors;
        `anonymous`, the most bytes at a step's end without the pages of files; `peak`, the most
        bytes ever, with them."""
        steps = [after - before for before, after in pairwise([self.begun, *self.ends])]
        work = [after - before for before, after in pairwise(self.work)]
        told = {"begun": self.begun, "steps": steps, "work": work, "anonymous": self.anonymous}
        print("\n" + json.dumps(told | {"peak": memory("VmHWM")} | more))


def memory(name: str) -> int:
    """A figure of this process in bytes. Not ru_maxrss: a new process starts with that of the
    process that started it."""
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
    assert found, f"/proc/self/status has no {name}"
    return 1024 * int(found[1])


@dataclass(frozen=True)
class Measured:
    """What a process under the clock told."""

    start: float
    """Seconds from its start to its first step."""
    steps: list[float]
    work: list[float]
    anonymous: int
    peak: int
    more: dict[str, Any]


def run(script: str, *arguments: str) -> Measured:
    """Run a script of this folder that ends with `Clock.tell`, on the processor alone."""
    command = [sys.executable, str(Path(__file__).parent / script), *arguments]
    alone = os.environ | {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    started = time.time()
    ended = subprocess.run(command, capture_output=True, text=True, env=alone)
    if ended.returncode:
        raise SystemExit(f"{script} failed ({ended.returncode}):\n{ended.stderr[-3000:]}")
    told = json.loads(ended.stdout.splitlines()[-1])
    known = {name: told.pop(name) for name in ("steps", "work", "anonymous", "peak")}
    return Measured(told.pop("begun") - started, **known, more=told)


def main() -> None:
    """`pocketvlm` in this process; every Trainer that it makes is under the clock."""
    from pocketvlm.cli import main as pocketvlm

    clock = Clock(int(sys.argv.pop(1)))
    DEFAULT_CALLBACKS.append(clock)
    atexit.register(clock.tell)
    pocketvlm()


if __name__ == "__main__":
    main()
