"""A training as a tracking callback sees it, without the learning."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import wandb
from PIL import Image
from transformers import TrainerControl, TrainerState, TrainingArguments

from pocketvlm.config import parse_config
from pocketvlm.project import Project
from pocketvlm.student.tracking import Mistake, Tracking
from tests.student.conftest import COLOURS

WANDB_KEY = "wandbkey" * 5
TEACHER_KEY = "sk-teacher-0123456789"


def make_tracked(root: Path, question: str = "Is this sky or grass?", **track: Any) -> Project:
    """A project that wants to be watched; it is never trained."""
    labels = {name: f"pictures of {name}" for name in COLOURS}
    task = {"question": question, "labels": labels}
    data = {"task": task, "train": {"effective_batch": 8}, "track": track}
    return Project.of(parse_config(data), root)


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A home and a current folder of its own, and a W&B that reads the environment anew."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("WANDB_SERVICE", raising=False)
    monkeypatch.delenv("WANDB_DIR", raising=False)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "")  # what the code sets is undone
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
        monkeypatch.setenv(name, str(home / "wandb"))
    yield
    with suppress(ConnectionError):  # a test may have killed W&B's service
        wandb.teardown()


def wrong(root: Path) -> list[Mistake]:
    path = root / "wrong.png"
    Image.new("RGB", (64, 64), "red").save(path)
    return [Mistake(path, "sky", "grass")]


def sync(root: Path, key: str = WANDB_KEY) -> str:
    """What the command that is printed does, called in the workspace; what it said."""
    segments = sorted(str(path) for path in (root / "logs" / "wandb").glob("offline-run-*"))
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "sync", *segments],
        env={name: text for name, text in os.environ.items() if name != "WANDB_SERVICE"}
        | {"WANDB_API_KEY": key},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout + done.stderr


class Watched:
    """Tells a `Tracking` what the Trainer would, and measures how long each call takes."""

    def __init__(self, project: Project, step: int = 0) -> None:
        kept = project.workspace.root / "state" / "checkpoints" / "key"
        self.tracking = Tracking(project, kept)
        self.args = TrainingArguments(str(project.workspace.root / "none"), report_to="none")
        self.state, self.control = TrainerState(global_step=step), TrainerControl()
        self.slowest = 0.0
        """Seconds of the longest call after the start."""
        self.began = self._timed("on_train_begin")
        self.slowest = 0.0

    def steps(self, count: int, seconds: float = 0.0) -> None:
        """Optimiser steps, each with its log."""
        for _ in range(count):
            time.sleep(seconds)
            self.state.global_step += 1
            step = self.state.global_step
            logs = {"loss": 1 / step, "grad_norm": 2.0, "learning_rate": 1e-4, "epoch": step / 10}
            self._timed("on_log", logs=logs)

    def evaluation(self, mistakes: list[Mistake], accuracy: float = 0.5) -> None:
        """An epoch's end."""
        metrics = {"eval_loss": 0.7, "eval_accuracy": accuracy, "eval_accuracy_confident": 0.75}
        metrics |= {"eval_recall_sky": 0.25, "eval_answered_sky": 3, "eval_runtime": 9.0}
        self._timed("on_log", logs=metrics)
        self.tracking.mistakes = mistakes
        self._timed("on_evaluate", metrics=metrics)

    def end(self) -> float:
        """The training came to its end; seconds that closing took."""
        self._timed("on_train_end")
        return self.close()

    def close(self) -> float:
        """As after an error; seconds."""
        started = time.monotonic()
        self.tracking.close()
        return time.monotonic() - started

    def _timed(self, event: str, **told: Any) -> float:
        started = time.monotonic()
        getattr(self.tracking, event)(self.args, self.state, self.control, **told)
        seconds = time.monotonic() - started
        self.slowest = max(self.slowest, seconds)
        return seconds
