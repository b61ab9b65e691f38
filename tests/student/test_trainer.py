"""A step's loss and gradient: transformers' own, whatever is kept and whatever fits at once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pocketvlm.student.data import IGNORED
from pocketvlm.student.inputs import pixel_values
from pocketvlm.student.order import Order
from pocketvlm.student.trainer import Batch, StudentTrainer
from pocketvlm.workspace import Row
from tests.student.conftest import make_project
from tests.student.students import ALONE, repeat, trained, trainer_of

VISION = ["frozen", "connector", "lora"]


def trainer_with(root: Path, base: Path, **train: object) -> StudentTrainer:
    """A trainer whose adapters already do something, and whose answers are of unequal length."""
    trainer = trainer_of(make_project(root, base, **train))
    torch.manual_seed(1)
    for name, value in trainer.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.05)
    end = trainer.student.end
    trainer.data_collator.answers = {"sky": [40, end], "grass": [41, 50, 60, end]}
    trainer.data_collator.tail = 4
    trainer.callback_handler.callbacks.clear()
    return trainer


def gradients(trainer: StudentTrainer) -> dict[str, Tensor]:
    """Of all that learns, which are forgotten then."""
    learning = {n: p for n, p in trainer.model.named_parameters() if p.requires_grad}
    found = {name: value.grad.clone() for name, value in learning.items() if value.grad is not None}
    assert found.keys() == learning.keys()
    trainer.model.zero_grad()
    return found


def step(trainer: StudentTrainer, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and gradients of one optimiser step."""
    loss = trainer.training_step(trainer.model, batch)
    return loss, gradients(trainer)


def bitmaps_of(trainer: StudentTrainer, name: str, batch: list[tuple[int, int]]) -> Tensor:
    """Pixels of two tiles a picture (n, 2, 3, side, side), read anew."""
    dataset = trainer.train_dataset if name == "train" else trainer.eval_dataset
    bitmaps = [np.ascontiguousarray(dataset.split[at][0][:, :: 1 - 2 * v]) for at, v in batch]
    pixels = pixel_values(bitmaps)
    return torch.stack([pixels, pixels], dim=1)


def their_loss(trainer: StudentTrainer, batch: Batch, pixels: Tensor) -> Tensor:
    """Transformers' own forward on pixels, with logits and labels of the whole length."""
    labels = torch.full_like(batch["ids"], IGNORED)
    labels[:, -batch["labels"].shape[1] :] = batch["labels"]
    loss: Tensor = trainer.model(
        input_ids=batch["ids"],
        attention_mask=batch["mask"],
        pixel_values=pixels,
        labels=labels,
    ).loss
    return loss


def assert_near(ours: dict[str, Tensor], theirs: dict[str, Tensor], part: float) -> None:
    """Gradients that differ by no more than a part of the largest of each weight."""
    for name, wanted in theirs.items():
        assert wanted.abs().max() > 0, name
        assert (ours[name] - wanted).abs().max() < part * wanted.abs().max(), name


@pytest.mark.parametrize("vision", VISION)
def test_loss_and_gradient_are_transformers_own(
    tmp_path: Path, tiny_base: Path, vision: str
) -> None:
    """Cached features, embedded by us, logits of the tail, in parts: nothing of it shows."""
    trainer = trainer_with(
        tmp_path, tiny_base, vision=vision, dropout=0, mirror=True, effective_batch=6, batch_size=4
    )
    loader = trainer.get_train_dataloader()
    assert isinstance(loader.batch_sampler, Order)
    items, batch = next(iter(loader.batch_sampler)), next(iter(loader))
    assert {view for _, view in items} == {0, 1}
    assert batch["mask"].min() == 0
    loss, ours = step(trainer, batch)
    trainer.model.train()
    wanted = their_loss(trainer, batch, bitmaps_of(trainer, "train", items))
    torch.autograd.backward(wanted)
    assert abs(float(loss) - wanted.item()) < 1e-5
    assert_near(ours, gradients(trainer), 1e-3)


@pytest.mark.parametrize("vision", VISION)
def test_what_fits_at_once_changes_neither(tmp_path: Path, tiny_base: Path, vision: str) -> None:
    trainer = trainer_with(tmp_path, tiny_base, vision=vision, dropout=0, effective_batch=7)
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.fit.rows = 7
    loss, whole = step(trainer, batch)
    for rows in (1, 3):
        trainer.fit.rows = rows
        again, parts = step(trainer, batch)
        assert abs(float(again) - float(loss)) < 1e-5
        assert_near(parts, whole, 1e-3)


def test_a_step_is_the_mean_of_its_tokens_not_of_its_parts(tmp_path: Path, tiny_base: Path) -> None:
    """Answers of two and of four tokens, one picture at a time."""
    trainer = trainer_with(tmp_path, tiny_base, dropout=0, effective_batch=24, batch_size=1)
    [batch] = trainer.get_train_dataloader()
    loss = float(trainer.training_step(trainer.model, batch))
    trainer.model.eval()
    losses, tokens = [], []
    for at in range(24):
        part = {name: value[at : at + 1] for name, value in batch.items()}
        losses.append(trainer._loss(trainer.model, part).item())
        tokens.append(int((part["labels"] != IGNORED).sum()))
    assert set(tokens) == {2, 4}
    assert abs(loss - sum(losses) / sum(tokens)) < 1e-5
    means = [one / many for one, many in zip(losses, tokens, strict=True)]
    assert abs(loss - sum(means) / 24) > 1e-3


def test_val_is_judged_by_the_same_loss(tmp_path: Path, tiny_base: Path) -> None:
    trainer = trainer_with(tmp_path, tiny_base)
    count = len(trainer.eval_dataset)
    batch = trainer.data_collator([trainer.eval_dataset[at, 0] for at in range(count)])
    pixels = bitmaps_of(trainer, "val", [(at, 0) for at in range(count)])
    trainer.model.eval()
    with torch.no_grad():
        wanted = float(their_loss(trainer, batch, pixels))
    for rows in (3, 100):
        trainer.fit.rows = rows
        assert abs(trainer.evaluate()["eval_loss"] - wanted) < 1e-5


def same(one: Row, other: Row) -> None:
    """Two histories of equal losses and answers."""
    for part in ("train", "val"):
        assert len(one[part]) == len(other[part]) > 0
        for first, second in zip(one[part], other[part], strict=True):
            assert abs(first["loss"] - second["loss"]) < 1e-5
    assert [row["answered"] for row in one["val"]] == [row["answered"] for row in other["val"]]


@pytest.mark.parametrize("vision", ["frozen", "connector"])
def test_a_whole_training_is_the_same_without_the_cache(
    tmp_path: Path, tiny_base: Path, vision: str
) -> None:
    settings: dict[str, Any] = {"vision": vision, "epochs": 2, "mirror": True}
    with_it = trained(make_project(tmp_path / "with", tiny_base, **settings))
    without = trained(make_project(tmp_path / "without", tiny_base, cache=False, **settings))
    assert (tmp_path / "with" / "state" / "features").is_dir()
    assert not (tmp_path / "without" / "state" / "features").exists()
    assert with_it["train"][0]["loss"] - with_it["train"][-1]["loss"] > 0.1
    same(with_it, without)


def test_asking_what_fits_draws_no_dropout(tmp_path: Path, tiny_base: Path) -> None:
    """Killed before its first checkpoint, a training finds the answer in a file, and is alike."""
    steps = list[tuple[Tensor, dict[str, Tensor]]]()
    for _ in range(2):
        trainer = trainer_with(tmp_path, tiny_base, dropout=0.5)
        assert (trainer.fit.rows is None) == (not steps)
        steps.append(step(trainer, next(iter(trainer.get_train_dataloader()))))
    assert torch.equal(steps[0][0], steps[1][0])
    assert all(torch.equal(steps[0][1][name], steps[1][1][name]) for name in steps[0][1])


def test_a_share_of_no_picture_has_no_loss(tmp_path: Path, tiny_base: Path) -> None:
    trainer = trainer_with(tmp_path, tiny_base)
    assert trainer.ranks == ALONE
    assert float(trainer.training_step(trainer.model, {})) == 0


def test_an_epoch_ends_with_a_smaller_step(tmp_path: Path, tiny_base: Path) -> None:
    """Its pictures count each as much as those of the others in their step."""
    project = make_project(tmp_path, tiny_base, epochs=2, effective_batch=20, dropout=0)
    repeat(project, "train", 2)
    history = trained(project)
    assert [row["step"] for row in history["train"]] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in history["val"]] == [3, 6]
