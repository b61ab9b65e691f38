"""What happened during training: told while it runs, kept as JSON and as a plot."""

import math
from collections.abc import Sequence, Sized
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.progress import Progress, TaskID
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from pocketvlm.errors import PocketError
from pocketvlm.progress import progress_bar, say
from pocketvlm.workspace import Row


class Reporter(TrainerCallback):
    """A bar over the optimiser steps, a line an epoch, and a stop when the loss is not finite."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = labels
        self.progress: Progress = progress_bar()
        self.task: TaskID | None = None
        self.asked = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the bar where an interrupted training stopped."""
        self.task = self.progress.add_task(
            "Training", total=state.max_steps, completed=state.global_step, note=""
        )
        self.progress.start()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Advance by one optimiser step."""
        assert self.task is not None
        self.progress.update(self.task, completed=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Show the loss; PocketError when it is not finite."""
        loss = (logs or {}).get("loss")
        if loss is None or self.task is None:
            return
        _check_finite(loss, state)
        self.progress.update(self.task, note=f"loss {loss:.3f}")

    def on_prediction_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        eval_dataloader: Sized = (),
        **_: Any,
    ) -> None:
        """Show how far the asking about val is."""
        assert self.task is not None
        self.asked += 1
        self.progress.update(self.task, note=f"val {self.asked}/{len(eval_dataloader)}")

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """One line an epoch; PocketError when the loss is not finite."""
        self.asked = 0
        if metrics:
            _check_finite(metrics["eval_loss"], state)
            say(
                f"  epoch {state.epoch or 0:.0f}: val accuracy {metrics['eval_accuracy']:.3f}, "
                f"val loss {metrics['eval_loss']:.3f}"
            )


def _check_finite(loss: float, state: TrainerState) -> None:
    if not math.isfinite(loss):
        raise PocketError(
            f"the loss became {loss} at step {state.global_step}: lower train.learning_rate "
            "(half of it is a good try) and train again"
        )


def record(state: TrainerState, labels: Sequence[str], val_labels: Sequence[str]) -> Row:
    """The Trainer's log as `train` and `val` rows, the best epoch, and warnings for people."""
    steps = [
        {
            "step": row["step"],
            "epoch": row["epoch"],
            "loss": row["loss"],
            "rate": row["learning_rate"],
        }
        for row in state.log_history
        if "loss" in row
    ]
    epochs = [
        {
            "step": row["step"],
            "epoch": row["epoch"],
            "loss": row["eval_loss"],
            "accuracy": row["eval_accuracy"],
            "accuracy_confident": row.get("eval_accuracy_confident"),
            "answered": {label: row[f"eval_answered_{label}"] for label in labels},
        }
        for row in state.log_history
        if "eval_accuracy" in row
    ]
    best = max(epochs, key=lambda row: row["accuracy"], default=None)
    return {"train": steps, "val": epochs, "best": best, "warnings": warnings(best, val_labels)}


def warnings(best: Row | None, val_labels: Sequence[str]) -> list[str]:
    """Labels that val holds and the student never answers."""
    if best is None:
        return []
    silent = [label for label, count in best["answered"].items() if not count]
    return [
        f"'{label}' is never answered, though val holds {val_labels.count(label)} of it: collect "
        "more pictures of it or train longer"
        for label in silent
        if label in val_labels
    ]


def plot(record: Row, path: Path) -> None:
    """Loss a step and accuracy an epoch, as a picture."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([row["epoch"] for row in record["train"]], [row["loss"] for row in record["train"]])
    left.plot([row["epoch"] for row in record["val"]], [row["loss"] for row in record["val"]], "o-")
    left.set(xlabel="epoch", title="loss: train (line), val (dots)")
    right.plot(
        [row["epoch"] for row in record["val"]], [row["accuracy"] for row in record["val"]], "o-"
    )
    right.set(xlabel="epoch", title="accuracy on val", ylim=(0, 1))
    figure.savefig(path, dpi=120)
