"""Where an interrupted training goes on: checkpoints that are whole, or not there at all."""

import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from pocketvlm.errors import PocketError, Stopped
from pocketvlm.layout import Layout
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.sections import MACHINE
from pocketvlm.signals import end_if_told, ending_signals
from pocketvlm.student.ranks import Ranks
from pocketvlm.workspace import (
    Row,
    discard,
    fingerprint,
    names_and_sizes,
    read_record,
    sha256_file,
    sha256_json,
    write_json,
)

SEAL = "sealed.json"
"""Written last into a checkpoint: the SHA-256 of every other file."""

EVERY = 300.0
"""Seconds between checkpoints inside of an epoch; one more ends each epoch."""

ECHO = 2.0
"""Seconds in which another signal is the same one: a terminal tells all processes of a command, and
their launcher tells them again."""

STATE = "trainer_state.json"
"""Transformers' own file of a checkpoint: where the training was, and its best epoch."""


def checkpoint_folder(project: Project, base: Row, layout: Layout) -> Path:
    """Where this training's checkpoints lie; another base, data or setting starts anew."""
    settings = project.config.train.model_dump(mode="json", exclude=MACHINE)
    weights = base.get("sha256") or base  # a local base may be moved
    key = sha256_json(
        [weights, settings, project.contract.hash, layout.ids]
        + [fingerprint(project.workspace.split(name)) for name in ("train", "val")]
        + [names_and_sizes(project.workspace.dataset / "images")]
    )[:16]
    return project.workspace.root / "state" / "checkpoints" / key


def seal(checkpoint: Path) -> None:
    """Declare a checkpoint whole."""
    hashes = {path.name: sha256_file(path) for path in sorted(checkpoint.iterdir())}
    write_json(checkpoint / SEAL, hashes)


def whole(checkpoint: Path) -> bool:
    """Whether every file of a checkpoint is as it was sealed."""
    try:
        hashes = read_record(checkpoint / SEAL)
        return all(sha256_file(checkpoint / name) == value for name, value in hashes.items())
    except (PocketError, OSError):
        return False


def last_whole(folder: Path) -> Path | None:
    """The newest checkpoint that is whole, and the best epoch before it too; damaged and later ones
    are thrown away, with a word where one was sealed and has changed since."""
    names = {path: re.fullmatch(r"checkpoint-(\d+)", path.name) for path in folder.glob("*")}
    found = {int(name[1]): path for path, name in names.items() if name}
    kept, last = set(), None
    for step, checkpoint in sorted(found.items()):
        if whole(checkpoint):
            kept.add(step)
            if read_record(checkpoint / STATE)["best_global_step"] in (None, *kept):
                last = step
            continue
        if (checkpoint / SEAL).is_file():
            say(f"{checkpoint} is damaged and is not used.")
        discard(checkpoint)
    for step in kept:
        if last is None or step > last:
            discard(found[step])
    return None if last is None else found[last]


def last_epoch(checkpoint: Path) -> int | None:
    """The epoch after which a training had ended, early or not, when this was written."""
    state = read_record(checkpoint / STATE)
    control = state["stateful_callbacks"]["TrainerControl"]["args"]
    return round(state["epoch"]) if control["should_training_stop"] else None


def remove_unsealed(folder: Path) -> None:
    """Delete what was being written when a disk was full."""
    for checkpoint in folder.glob("checkpoint-*"):
        if not (checkpoint / SEAL).is_file():
            discard(checkpoint)


class Keeper(TrainerCallback):
    """Asks for checkpoints, by the clock and when the process is told to end; seals them.

    All processes must agree on the step, so the trainer sums what each wishes."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.saved = time.monotonic()
        self.training, self.agreed = False, False
        self.told, self.heard = "", 0.0
        """The signal that told this process to end, and when it came."""

    def wish(self) -> float:
        """1 where this process wants a checkpoint after the step."""
        due = self.ranks.first and time.monotonic() - self.saved > EVERY
        return float(due or bool(self.told))

    def agree(self, wishes: float) -> None:
        """How many processes wish for one."""
        self.agreed = wishes > 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """From here on a signal waits for its checkpoint. The workspace may have been moved since
        the best epoch was written."""
        self.training, self.saved = True, time.monotonic()
        if state.best_global_step:
            best = Path(args.output_dir) / f"checkpoint-{state.best_global_step}"
            state.best_model_checkpoint = str(best)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Ask for a checkpoint; an epoch's end writes one by itself, after asking about val."""
        if self.agreed and not float(state.epoch or 0).is_integer():
            control.should_save = True

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Seal what was written; PocketError where a process was told to end."""
        told = [name for name in self.ranks.gather([self.told]) if name]  # all have written now
        if self.ranks.first:
            seal(Path(args.output_dir) / f"checkpoint-{state.global_step}")
        self.saved = time.monotonic()
        if told:
            self.ranks.wait()
            raise Stopped(
                f"stopped by {told[0]} after step {state.global_step} of {state.max_steps}: the "
                "checkpoint is kept, run the same command to go on"
            )

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Nothing to wait for any more."""
        self.training = False
        if self.told:
            raise KeyboardInterrupt

    @contextmanager
    def listening(self) -> Iterator[None]:
        """The first SIGTERM or Ctrl-C ends the training after the step, a second one at once;
        before the first step and after the last one there is nothing to wait for. PocketError."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        end_if_told()
        before = {one: signal.getsignal(one) for one in (signal.SIGINT, *ending_signals())}
        for one in before:
            signal.signal(one, self._hear)
        try:
            yield
        except KeyboardInterrupt:
            if not self.told:
                raise
            raise Stopped(f"stopped by {self.told}: run the same command to go on") from None
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def _hear(self, number: int, _: FrameType | None) -> None:
        now, again = time.monotonic(), bool(self.told)
        if again and now - self.heard < ECHO:
            return
        self.told, self.heard = signal.Signals(number).name, now
        if again:
            signal.signal(number, signal.SIG_DFL)  # the third one
        if again or not self.training:
            raise KeyboardInterrupt  # no Exception, which a library might take for its own
        with suppress(RuntimeError):  # this came in the middle of another line
            say(f"{self.told}: a checkpoint is written after this step, then training stops.")
