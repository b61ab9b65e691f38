"""A training to watch: its figures in TensorBoard and W&B. Neither ever stops it."""

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from pocketvlm.config import Config
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.keys import hide, read_key
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.student.event_files import EventFiles
from pocketvlm.student.machine import Machine
from pocketvlm.student.wandb_run import KEY, WandbRun, needed_key
from pocketvlm.workspace import Row, read_record, write_json

RECORD = "tracking.json"
"""Beside the checkpoints: which run a resumed training goes on in."""

SHOWN = 64
"""Most wrong pictures an epoch; of more, evenly spread."""

NAMES = {
    "loss": "train/loss",
    "grad_norm": "train/grad_norm",
    "learning_rate": "train/learning_rate",
    "epoch": "epoch",
    "eval_loss": "val/loss",
    "eval_accuracy": "val/accuracy",
    "eval_accuracy_confident": "val/accuracy_confident",
}
"""The Trainer's figures, and how they are called here."""

PER_LABEL = {"eval_recall_": "recall/", "eval_answered_": "answered/"}
"""The same for figures of one label, which follows."""


class Mistake(NamedTuple):
    """A val picture the student got wrong."""

    image: Path
    label: str
    answer: str


class Board(Protocol):
    """Where figures go."""

    name: str

    def figures(self, values: dict[str, float], step: int) -> None:
        """Figures of an optimiser step."""

    def mistakes(self, rows: Sequence[tuple[Path, str, str]], step: int) -> None:
        """Wrong pictures: image, label, answer."""

    def close(self, finished: bool) -> None:
        """Nothing follows; whether the training came to its end."""


class Tracking(TrainerCallback):
    """Shows a training where `track` says. A board that fails is left out from then on.

    ConfigError when a package or W&B's key is missing. Close it in any case."""

    def __init__(self, project: Project, kept: Path) -> None:
        self.project, self.kept = project, kept
        self.mistakes: list[Mistake] = []
        """Of the evaluation that is about to be told; the trainer sets it."""
        _check_installed(project)
        self.secrets = _secrets(project)
        self.machine = Machine()
        self.open: list[Board] = []
        self.used: list[Board] = []
        self.finished = False
        self.since, self.step = time.monotonic(), 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Open the boards, in the run of an interrupted training where there is one."""
        track, project = self.project.config.track, self.project
        run, resumed = self._run_id()
        settings = self._settings()
        if track.tensorboard:
            self._open(
                EventFiles.name, lambda: EventFiles(project, run, state.global_step, settings)
            )
        if track.wandb != "off":
            self._open(WandbRun.name, lambda: WandbRun(project, run, resumed, settings))
        self._restart(state)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Figures of the steps since the last log."""
        if not logs or "loss" not in logs:
            return
        values = named(logs) | self._speed(state) | self.machine.figures()
        self._each(lambda board: board.figures(values, state.global_step))

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Figures of val, and what was answered wrongly."""
        values, rows = named(metrics or {}), spread(self.mistakes)
        if values:
            self._each(lambda board: board.figures(values, state.global_step))
        if rows:
            self._each(lambda board: board.mistakes(rows, state.global_step))
        self._restart(state)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Writing a checkpoint is no step."""
        self._restart(state)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Remember that the training came to its end."""
        self.finished = True

    def close(self) -> None:
        """Close the boards; again does nothing. Takes at most the time that W&B is given."""
        boards, self.open, self.used = self.used, [], []
        for board in boards:
            self._guarded(board.name, partial(board.close, self.finished))

    def _run_id(self) -> tuple[str, bool]:
        """The run's id, and whether there was one already."""
        path = self.kept / RECORD
        try:
            return str(read_record(path)["run"]), True
        except (PocketError, KeyError):
            run = uuid.uuid4().hex[:8]
            write_json(path, {"run": run})
            return run, False

    def _settings(self) -> Row:
        """Configuration and contract; a key that somebody wrote into them is taken out."""
        configuration = self.project.config.model_dump(mode="json", by_alias=True)
        settings = {"configuration": configuration, "contract": self.project.contract.describe()}
        cleaned: Row = json.loads(self._hidden(json.dumps(settings, ensure_ascii=False)))
        return cleaned

    def _hidden(self, text: str) -> str:
        for secret in self.secrets:
            text = hide(text, secret)
        return text

    def _speed(self, state: TrainerState) -> dict[str, float]:
        """Pictures a second of the steps since the last figure, without evaluations between."""
        steps, seconds = state.global_step - self.step, time.monotonic() - self.since
        self._restart(state)
        if steps <= 0 or seconds <= 0:
            return {}
        pictures = steps * self.project.config.train.effective_batch
        return {"train/samples_per_second": pictures / seconds}

    def _restart(self, state: TrainerState) -> None:
        self.since, self.step = time.monotonic(), state.global_step

    def _open(self, name: str, board: Callable[[], Board]) -> None:
        def opened() -> None:
            self.used.append(board())
            self.open.append(self.used[-1])

        self._guarded(name, opened)

    def _each(self, tell: Callable[[Board], None]) -> None:
        for board in [*self.open]:
            if not self._guarded(board.name, partial(tell, board)):
                self.open.remove(board)

    def _guarded(self, name: str, act: Callable[[], None]) -> bool:
        """Whether it went well. Whatever a board raises, the training is worth more."""
        try:
            act()
        except Exception as error:
            said = self._hidden(f"{type(error).__name__}: {error}")
            say(f"WARNING: {name} is left out from here on, the training goes on ({said})")
            return False
        return True


def named(figures: Mapping[str, float]) -> dict[str, float]:
    """The figures that are shown, under the names that people read."""
    shown = {}
    for key, value in figures.items():
        name = NAMES.get(key)
        for start, group in PER_LABEL.items():
            if key.startswith(start):
                name = group + key.removeprefix(start)
        if name:
            shown[name] = float(value)
    return shown


def spread(mistakes: list[Mistake]) -> list[Mistake]:
    """At most `SHOWN`, evenly over all of them: val may be sorted by label."""
    return mistakes[:: max(1, -(-len(mistakes) // SHOWN))]


def _check_installed(project: Project) -> None:
    """ConfigError where a package or the key is missing: before a model is loaded."""
    track = project.config.track
    wanted = {"tensorboard": track.tensorboard, "wandb": track.wandb != "off"}
    for package, needed in wanted.items():
        if needed and not find_spec(package):
            raise ConfigError(f'track.{package} needs a package: pip install "pocketvlm[track]"')
    if track.wandb == "online":
        needed_key(project)


def _secrets(project: Project) -> list[str]:
    """The values of all keys that the project knows by name, as they would stand in JSON."""
    names = {KEY, "HF_TOKEN", *_key_names(project.config)}
    keys = [read_key(name, project.workspace.root) for name in sorted(names)]
    return [json.dumps(key)[1:-1] for key in keys if key]


def _key_names(config: Config) -> list[str]:
    unsplash = [config.collect.unsplash.api_key_env] if config.collect.unsplash else []
    return [teacher.api_key_env for teacher in config.teachers] + unsplash
