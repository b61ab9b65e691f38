"""What happened during training: told while it runs, kept as JSON and as a plot."""

from collections.abc import Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

from rich.progress import Progress, TaskID
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from pocketvlm.progress import measured, progress_bar, say
from pocketvlm.project import Project
from pocketvlm.student.health import after_epoch, check_finite, rising
from pocketvlm.workspace import Row

EARLY = 30
"""Steps before which a healthy training may still answer one-sidedly."""


class Reporter(TrainerCallback):
    """A bar over the optimiser steps, a line an epoch, warnings as soon as they show, and a stop
    when the loss is not finite."""

    def __init__(self, project: Project, train: Sequence[str], val: Sequence[str]) -> None:
        self.project, self.train, self.val = project, train, val
        """`train` and `val` are the labels of both splits."""
        self.rises: str | None = None
        """What was said of a rising loss, once."""
        self.told = list[str]()
        """What was said of the last epoch."""
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

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Say why it ended before its last epoch, and which one is kept."""
        assert self.task is not None
        self.progress.update(self.task, total=state.global_step, note="")
        if state.global_step < state.max_steps and state.best_global_step:
            epoch = state.best_global_step * (state.epoch or 0) / state.global_step
            say(
                f"No better val for {self.project.config.train.patience} epochs (train.patience): "
                f"stopped, epoch {epoch:.0f} is kept."
            )

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
        check_finite(loss, state.global_step)
        measured(loss=loss)
        self.progress.update(self.task, note=f"loss {loss:.3f}")
        if self.rises is None:
            losses = [row["loss"] for row in state.log_history if "loss" in row]
            self.rises = rising(self.project, losses)
            if self.rises:
                say(f"WARNING: {self.rises}")

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
            check_finite(metrics["eval_loss"], state.global_step)
            measured(val_accuracy=metrics["eval_accuracy"], val_loss=metrics["eval_loss"])
            say(
                f"  epoch {state.epoch or 0:.0f}: val accuracy {metrics['eval_accuracy']:.3f}, "
                f"val loss {metrics['eval_loss']:.3f}"
            )
            if state.global_step >= EARLY:
                self.told = self.warnings(epoch_row(metrics, self.project.contract.labels))
                for warning in self.told:
                    say(f"WARNING: {warning}")

    def remaining(self, best: Row | None) -> list[str]:
        """What holds of the best epoch, said where it was not yet, and of the loss."""
        found = self.warnings(best) if best else []
        for warning in found:
            if warning not in self.told:
                say(f"WARNING: {warning}")
        return found + ([self.rises] if self.rises else [])

    def warnings(self, epoch: Row) -> list[str]:
        """What the answers after one epoch say against the training."""
        right = round(epoch["accuracy"] * len(self.val))
        return after_epoch(self.project, right, epoch["answered"], self.val, self.train)


def record(state: TrainerState, labels: Sequence[str]) -> Row:
    """The Trainer's log as `train` and `val` rows, and the best epoch."""
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
        {"step": row["step"], "epoch": row["epoch"], **epoch_row(row, labels)}
        for row in state.log_history
        if "eval_accuracy" in row
    ]
    best = max(epochs, key=lambda row: float(row["accuracy"]), default=None)
    return {"train": steps, "val": epochs, "best": best}


def epoch_row(metrics: Mapping[str, float], labels: Sequence[str]) -> Row:
    """One epoch's figures on val, by readable names."""
    return {
        "loss": metrics["eval_loss"],
        "accuracy": metrics["eval_accuracy"],
        "accuracy_confident": metrics.get("eval_accuracy_confident"),
        "answered": {label: metrics[f"eval_answered_{label}"] for label in labels},
        "recall": {label: metrics.get(f"eval_recall_{label}") for label in labels},
    }


def plot(record: Row, path: Path) -> None:
    """Loss a step and accuracy an epoch, as a picture."""
    from matplotlib.figure import Figure  # a third of a second before the first step otherwise

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([row["epoch"] for row in record["train"]], [row["loss"] for row in record["train"]])
    left.plot([row["epoch"] for row in record["val"]], [row["loss"] for row in record["val"]], "o-")
    left.set(xlabel="epoch", title="loss: train (line), val (dots)")
    right.plot(
        [row["epoch"] for row in record["val"]], [row["accuracy"] for row in record["val"]], "o-"
    )
    right.set(xlabel="epoch", title="accuracy on val", ylim=(0, 1.03))
    figure.savefig(path, dpi=120)
