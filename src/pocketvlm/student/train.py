"""LoRA on the text model, through transformers' Trainer: resumable, best epoch kept."""

import math
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from torch.nn import functional
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainingArguments
from transformers.trainer_utils import TrainOutput, get_last_checkpoint

from pocketvlm.base import RECORD, find_base, load_tokenizer
from pocketvlm.errors import PocketError
from pocketvlm.layout import Layout
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.runtime import ask_layout
from pocketvlm.sections import Train
from pocketvlm.student import history
from pocketvlm.student.balance import Balanced
from pocketvlm.student.data import IGNORED, Collator, Split
from pocketvlm.student.features import Lessons
from pocketvlm.student.inputs import embed
from pocketvlm.student.load import load_model, told_if_full, training_dtype
from pocketvlm.student.student import BATCH, Student
from pocketvlm.workspace import (
    Row,
    atomic_folder,
    fingerprint,
    names_and_sizes,
    read_json,
    sha256_json,
    write_json,
)

TEXT_MODEL = r".*text_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
"""The adapted layers, as a regex on the whole name: plain names also hit the vision tower."""

CONNECTOR = r".*connector\.modality_projection\.proj"


def lora(config: Train) -> LoraConfig:
    """LoRA on q, k, v, o, gate, up and down of the text model only; the connector on demand."""
    return LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=f"{TEXT_MODEL}|{CONNECTOR}" if config.connector else TEXT_MODEL,
    )


class StudentTrainer(Trainer):
    """Loss on the answer and its end token; after each epoch the student is asked about val."""

    loss_is_scaled_for_ga = False

    def __init__(
        self, student: Student, confident: list[bool], balanced: bool, **arguments: Any
    ) -> None:
        self.balanced = balanced
        super().__init__(**arguments)
        self.student = student
        self.confident = confident

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """With `train.balanced` every label equally often."""
        if not self.balanced:
            return super()._get_train_sampler(train_dataset)
        return Balanced(self.train_dataset.labels, self.args.seed)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Mean cross entropy of the tail."""
        return self.tail_loss(model, inputs, self.connected(self.train_dataset, inputs))

    def connected(self, lessons: Lessons, inputs: dict[str, Tensor]) -> Tensor:
        """The connector's features (n, tile tokens, hidden) of a batch."""
        features = inputs["features"]
        return features if lessons.connected else self.student.model.model.connector(features)

    def tail_loss(self, model: nn.Module, inputs: dict[str, Tensor], features: Tensor) -> Tensor:
        """Logits are computed where an answer is, and nowhere else."""
        labels = inputs["labels"]
        logits = model(
            inputs_embeds=embed(self.student.model, inputs["ids"], features),
            attention_mask=inputs["mask"],
            logits_to_keep=labels.shape[1] + 1,
            use_cache=False,
        ).logits[:, :-1]
        return functional.cross_entropy(
            logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED
        )

    @torch.no_grad()
    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Loss and accuracy of greedy answers on val, and how often each label is answered."""
        self.model.eval()
        lessons: Lessons = self.eval_dataset
        loss, answers = 0.0, list[str]()
        self.callback_handler.eval_dataloader = self.get_eval_dataloader()
        for batch in self.callback_handler.eval_dataloader:
            inputs = self._prepare_inputs(batch)
            features = self.connected(lessons, inputs)
            loss += float(self.tail_loss(self.model, inputs, features)) * len(features)
            answers += self.student.answer(features)
            self.callback_handler.on_prediction_step(self.args, self.state, self.control)
        right = [a.strip() == label for a, label in zip(answers, lessons.labels, strict=True)]
        metrics = {"eval_loss": loss / len(right), "eval_accuracy": sum(right) / len(right)}
        if any(self.confident):
            kept = [r for r, confident in zip(right, self.confident, strict=True) if confident]
            metrics["eval_accuracy_confident"] = sum(kept) / len(kept)
        counts = Counter(answer.strip() for answer in answers)
        metrics |= {
            f"eval_answered_{label}": counts[label] for label in self.student.contract.labels
        }
        self.log(metrics)
        self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def train(project: Project) -> Row:
    """Train the adapter; writes adapter/ with weights, base, history and its plot."""
    project.check_contract(project.workspace.dataset)
    config = project.config.train
    shown, val = Split(project, "train"), Split(project, "val")
    if not len(shown):
        raise PocketError(
            "the training split is empty: collect more pictures, or lower prepare.min_confidence"
        )
    if not len(val):
        say("The val split is empty: the last epoch is kept, and nothing stops training early.")
    origin = find_base(project)
    torch.manual_seed(config.seed)
    tokenizer = load_tokenizer(origin.folder)
    model = get_peft_model(load_model(origin.folder, training_dtype()), lora(config))
    layout = ask_layout(origin.folder, project.contract)
    student = Student(model.base_model.model, tokenizer, project.contract, layout)
    checkpoints = _checkpoints(project, origin.record, layout)
    reporter = history.Reporter(project.contract.labels)
    trainer = StudentTrainer(
        student,
        val.confident,
        config.balanced,
        model=model,
        args=arguments(config, checkpoints, len(shown), validated=len(val) > 0),
        train_dataset=Lessons(student, shown, checkpoints, config),
        eval_dataset=Lessons(student, val, checkpoints, config) if len(val) else None,
        data_collator=Collator(student),
        callbacks=[reporter],
    )
    trainer.remove_callback(PrinterCallback)
    if len(val):
        trainer.add_callback(EarlyStoppingCallback(config.patience))
    result = _train(trainer, reporter, checkpoints)
    record = history.record(trainer.state, project.contract.labels, val.labels)
    record["seconds"] = round(result.metrics["train_runtime"], 1)
    for warning in record["warnings"]:
        say(f"WARNING: {warning}")
    _save(model, project, origin.record, layout, record)
    discard(checkpoints)
    return _figures(model, record, len(shown), len(val))


def _train(trainer: Trainer, reporter: history.Reporter, checkpoints: Path) -> TrainOutput:
    """Train from the last checkpoint; one that a kill left half written is thrown away: its
    state is written last."""
    for folder in checkpoints.glob("checkpoint-*"):
        try:
            read_json(folder / "trainer_state.json")
        except PocketError:
            discard(folder)
    before = get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None
    if before:
        say(f"Going on from {Path(before).name} of an interrupted training.")
    try:
        with told_if_full(checkpoints):
            return trainer.train(resume_from_checkpoint=before)
    finally:
        reporter.progress.stop()


def arguments(
    config: Train, checkpoints: Path, pictures: int, validated: bool
) -> TrainingArguments:
    """The Trainer's settings; `validated` keeps the best epoch by accuracy on val.

    Warm-up steps are rounded down: the Trainer would round up, and teach an only step at rate 0."""
    batches = math.ceil(pictures / config.batch)
    steps = math.ceil(batches / config.accumulation) * config.epochs
    return TrainingArguments(
        output_dir=str(checkpoints),
        per_device_train_batch_size=config.batch,
        per_device_eval_batch_size=BATCH,
        gradient_accumulation_steps=config.accumulation,
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=int(config.warmup * steps),
        seed=config.seed,
        eval_strategy="epoch" if validated else "no",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=validated,
        restore_callback_states_from_checkpoint=True,
        metric_for_best_model="eval_accuracy" if validated else None,
        greater_is_better=True if validated else None,
        logging_steps=1,
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def _checkpoints(project: Project, base: Row, layout: Layout) -> Path:
    """Where an interrupted training goes on; another base, data or setting starts anew."""
    root = project.workspace.root / "state" / "checkpoints"
    key = sha256_json(
        [base, project.config.train.model_dump(), project.contract.hash, layout.ids]
        + [fingerprint(project.workspace.split(name)) for name in ("train", "val")]
        + [names_and_sizes(project.workspace.dataset / "images")]
    )[:16]
    for other in root.glob("*"):
        if other.is_dir() and other.name != key:
            discard(other)
    return root / key


def discard(folder: Path) -> None:
    """Delete a folder so that a kill leaves it whole, or under a name nobody goes on from."""
    gone = folder.with_name(f".{folder.name}.gone")
    shutil.rmtree(gone, ignore_errors=True)
    if folder.is_dir():
        folder.rename(gone)
        shutil.rmtree(gone)


def _save(model: PeftModel, project: Project, base: Row, layout: Layout, record: Row) -> None:
    with atomic_folder(project.workspace.adapter) as folder:
        with told_if_full(folder):
            model.save_pretrained(str(folder))
        (folder / "README.md").unlink(missing_ok=True)  # PEFT's model card template, never filled
        write_json(folder / RECORD, base | {"contract": project.contract.hash})
        project.record_contract(folder, layout)
        write_json(folder / "history.json", record)
        history.plot(record, folder / "history.png")


def _figures(model: PeftModel, record: Row, lessons: int, val: int) -> Row:
    trainable, total = model.get_nb_trainable_parameters()
    return {
        "train": lessons,
        "val": val,
        "trainable": trainable,
        "parameters": total,
        "epochs": len(record["val"]),
        "best_accuracy": record["best"]["accuracy"] if record["best"] else None,
        "warnings": record["warnings"],
    }
