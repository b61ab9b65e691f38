"""The stage: LoRA through transformers' Trainer, resumable at any step, the best epoch kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import EarlyStoppingCallback, PrinterCallback, TrainingArguments
from transformers.trainer_utils import TrainOutput

from pocketvlm.base import RECORD, Base, find_base, load_tokenizer
from pocketvlm.errors import PocketError
from pocketvlm.layout import Layout
from pocketvlm.model_card import model_card
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.runtime import ask_layout
from pocketvlm.sections import Train
from pocketvlm.student import history
from pocketvlm.student.checkpoints import (
    Keeper,
    checkpoint_folder,
    last_epoch,
    last_whole,
    remove_unsealed,
)
from pocketvlm.student.data import Split
from pocketvlm.student.features import Lessons, kind_of
from pocketvlm.student.fit import Fit
from pocketvlm.student.health import check_splits
from pocketvlm.student.load import load_model, told_if_full
from pocketvlm.student.precision import device, precision
from pocketvlm.student.ranks import Ranks, quiet_unless_first
from pocketvlm.student.student import Student
from pocketvlm.student.tracking import Mistake, Tracking
from pocketvlm.student.trainer import StudentTrainer
from pocketvlm.workspace import FINISHED, Row, atomic_folder, named_if_full, write_json, write_text

TEXT_MODEL = r".*text_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
"""The adapted layers, as a regex on the whole name: plain names also hit the vision tower."""

CONNECTOR = r".*connector\.modality_projection\.proj"
TOWER = r".*vision_model\.encoder\.layers\.\d+\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])"

ADAPTED = {
    "frozen": TEXT_MODEL,
    "connector": f"{TEXT_MODEL}|{CONNECTOR}",
    "lora": f"{TEXT_MODEL}|{CONNECTOR}|{TOWER}",
}
"""What learns, by `train.vision`."""

SEEN = {
    "pixels": "The tower looks at every picture in every epoch.",
    "states": "What the tower says is kept, the connector learns.",
    "features": "What tower and connector say is kept.",
}

POINTS = 500
"""Points of the loss curve, at most about; a note a step would grow with the data."""


def lora(config: Train) -> LoraConfig:
    """LoRA on q, k, v, o, gate, up and down of the text model; connector and tower on demand."""
    return LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=ADAPTED[config.vision],
    )


@dataclass(frozen=True)
class Plan:
    """What a training depends on, found before anything is computed."""

    project: Project
    base: Base
    layout: Layout
    shown: Split
    val: Split
    checkpoints: Path
    ranks: Ranks
    keeper: Keeper

    @classmethod
    def of(cls, project: Project) -> "Plan":
        """PocketError or ConfigError when something is missing or does not fit together."""
        project.check_contract(project.workspace.dataset)
        shown, val = Split(project, "train"), Split(project, "val")
        if not len(shown):
            raise PocketError(
                "the training split is empty: collect more pictures, or lower "
                "prepare.min_confidence"
            )
        if not len(val):
            say("The val split is empty: the last epoch is kept, and nothing stops training early.")
        base = find_base(project)
        layout = ask_layout(base.folder, project.contract)
        checkpoints = checkpoint_folder(project, base.record, layout)
        ranks = Ranks.here()
        return cls(project, base, layout, shown, val, checkpoints, ranks, Keeper(ranks))


def train(project: Project) -> Row:
    """Train the adapter; writes adapter/ with weights, base, history, its plot and a model card.

    In one process of several, which share the work; the first one writes."""
    quiet_unless_first(Ranks.here())
    plan = Plan.of(project)
    args = arguments(plan)  # from here on the processes know each other, and can be told to end
    with plan.ranks.all_alive(), plan.keeper.listening():
        return _train(plan, args)


def _train(plan: Plan, args: TrainingArguments) -> Row:
    warnings = plan.ranks.agreed(lambda: check_splits(plan.project))
    for warning in warnings:
        say(f"WARNING: {warning}")
    with watchers(plan) as (reporter, tracking):
        trainer = make_trainer(plan, args, reporter, tracking)
        result = run(trainer, plan)
    record = history.record(trainer.state, plan.project.contract.labels)
    record["epochs"] = round(trainer.state.epoch)
    record["seconds"] = round(result.metrics["train_runtime"], 1)
    record["warnings"] = warnings + reporter.remaining(record["best"])
    if plan.ranks.first:
        _save(trainer.model, plan, record)
        (plan.checkpoints / FINISHED).touch()
    plan.ranks.wait()
    return _figures(trainer.model, plan, record)


@contextmanager
def watchers(plan: Plan) -> Iterator[tuple[history.Reporter, Tracking | None]]:
    """Who is told of the training: people, and what `track` names; closed however it ends."""
    track = plan.project.config.track
    wanted = plan.ranks.first and (track.tensorboard or track.wandb != "off")
    tracking = Tracking(plan.project, plan.checkpoints) if wanted else None
    reporter = history.Reporter(plan.project, plan.shown.labels, plan.val.labels)
    try:
        yield reporter, tracking
    finally:
        reporter.progress.stop()
        if tracking:
            tracking.close()


def make_trainer(
    plan: Plan, args: TrainingArguments, reporter: history.Reporter, tracking: Tracking | None
) -> StudentTrainer:
    """The student with its adapter, its lessons and the Trainer round them."""
    project, config, ranks = plan.project, plan.project.config.train, plan.ranks
    torch.manual_seed(config.seed)
    model = get_peft_model(load_model(plan.base.folder, precision().dtype), lora(config))
    student = Student(
        model.base_model.model, load_tokenizer(plan.base.folder), project.contract, plan.layout
    )
    say(_told(config, ranks))
    features = project.workspace.root / "state" / "features"
    trainer = StudentTrainer(
        student,
        config,
        plan.val.confident,
        ranks,
        plan.keeper,
        Fit(config, ranks, model.parameters(), plan.checkpoints),
        partial(_show, plan.val, tracking),
        model=model,
        args=args,
        train_dataset=Lessons(student, plan.shown, features, config, ranks),
        eval_dataset=Lessons(student, plan.val, features, config, ranks) if plan.val else None,
        callbacks=[reporter, tracking] if tracking else [reporter],
    )
    trainer.remove_callback(PrinterCallback)
    if plan.val:
        trainer.add_callback(EarlyStoppingCallback(config.patience))
    return trainer


def _show(val: Split, tracking: Tracking | None, mistakes: list[tuple[int, str]]) -> None:
    if tracking:
        tracking.mistakes = [Mistake(val.path(at), val.labels[at], said) for at, said in mistakes]


def _told(config: Train, ranks: Ranks) -> str:
    """Where and how it trains, for people."""
    numbers, kind = precision(), kind_of(config)
    many = f"{ranks.processes} processes on " if ranks.processes > 1 else ""
    gpus = torch.cuda.device_count()
    more = f" With --nproc {gpus} all {gpus} GPUs help." if gpus > ranks.processes else ""
    name = str(numbers.dtype).removeprefix("torch.")
    return f"Training on {many}{device().type} in {name} ({numbers.why}). {SEEN[kind]}{more}"


def run(trainer: StudentTrainer, plan: Plan) -> TrainOutput:
    """Train from the last checkpoint that is whole; what a full disk left half written is removed,
    so that there is room for what comes before it."""
    folder, ranks = plan.checkpoints, plan.ranks
    before = last_whole(folder) if ranks.first else None
    [before, *_] = ranks.gather([before])
    if before:
        say(f"Going on from {before.name} of an interrupted training.")
        if ended := last_epoch(before):
            trainer.args.num_train_epochs = ended  # only its adapter was not written yet
    try:
        with named_if_full(folder), told_if_full(folder):
            return trainer.train(resume_from_checkpoint=str(before) if before else None)
    finally:
        if ranks.first:
            remove_unsealed(folder)


def arguments(plan: Plan) -> TrainingArguments:
    """The Trainer's settings; where there is a val, the best epoch by accuracy on it is kept. Under
    torch's launcher they also make the processes known to each other.

    Warm-up steps are rounded down: the Trainer would round up, and teach an only step at rate 0."""
    config, validated = plan.project.config.train, len(plan.val) > 0
    steps = -(-len(plan.shown) // config.effective_batch) * config.epochs
    args = TrainingArguments(
        output_dir=str(plan.checkpoints),
        use_cpu=device().type == "cpu",  # else accelerate would not connect several of them
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=int(config.warmup * steps),
        seed=config.seed,
        fp16=precision().scaled,
        eval_strategy="epoch" if validated else "no",
        save_strategy="epoch",
        save_total_limit=3,  # the newest is not sealed yet when the oldest goes
        load_best_model_at_end=validated,
        restore_callback_states_from_checkpoint=True,
        metric_for_best_model="eval_accuracy" if validated else None,
        greater_is_better=True if validated else None,
        logging_steps=max(1, steps // POINTS),
        logging_nan_inf_filter=False,
        average_tokens_across_devices=False,  # these two wait for processes with an empty share
        ddp_broadcast_buffers=False,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
    )
    args._n_gpu = min(1, args.n_gpu)  # several in one process would divide each batch once more
    return args


def _save(model: PeftModel, plan: Plan, record: Row) -> None:
    adapter = plan.project.workspace.adapter
    with named_if_full(adapter), atomic_folder(adapter) as folder:
        with told_if_full(adapter):
            model.save_pretrained(str(folder))
        write_json(folder / RECORD, plan.base.record | {"contract": plan.project.contract.hash})
        plan.project.record_contract(folder, plan.layout)
        write_json(folder / "history.json", record)
        history.plot(record, folder / "history.png")
        write_text(folder / "README.md", model_card(plan.project, "adapter", folder))


def _figures(model: PeftModel, plan: Plan, record: Row) -> Row:
    trainable, total = model.get_nb_trainable_parameters()
    return {
        "train": len(plan.shown),
        "val": len(plan.val),
        "trainable": trainable,
        "parameters": total,
        "epochs": record["epochs"],
        "best_epoch": round(record["best"]["epoch"]) if record["best"] else None,
        "best_accuracy": record["best"]["accuracy"] if record["best"] else None,
        "warnings": record["warnings"],
    }
