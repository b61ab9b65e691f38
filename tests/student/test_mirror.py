"""Mirrored pictures: half of them in training where it is asked for, none where it is not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pocketvlm.pictures import Bitmap
from pocketvlm.project import Project
from pocketvlm.student.data import Collator, Split
from pocketvlm.student.inputs import pixel_values, tower_states
from pocketvlm.student.student import Student
from tests.student.conftest import make_project
from tests.student.students import make_student, trainer_of

EPOCHS = 100


def lopsided(project: Project, split: str) -> Bitmap:
    """Make the first picture of a split differ from its mirror image; returns it."""
    bitmap = np.zeros((64, 64, 3), np.uint8)
    bitmap[:, :10] = 255
    Image.fromarray(bitmap).save(project.workspace.dataset / "images" / f"{split}0.png")
    return bitmap


def said(student: Student, bitmap: Bitmap) -> torch.Tensor:
    """What the tower says of one picture, asked alone."""
    with torch.inference_mode():
        return tower_states(student.model, pixel_values([bitmap]))[0]


def shares(root: Path, base: Path, mirror: bool) -> tuple[int, int]:
    """How often the first picture is shown as it is, and mirrored, in a hundred epochs."""
    project = make_project(root, base, mirror=mirror, vision="connector")
    bitmap = lopsided(project, "train")
    loader = trainer_of(project).get_train_dataloader()
    student = make_student(project, base)
    views = said(student, bitmap), said(student, bitmap[:, ::-1])
    as_it_is = turned = 0
    for epoch in range(EPOCHS):
        loader.set_epoch(epoch)
        for batch in loader:
            for seen in batch["seen"]:
                as_it_is += torch.allclose(seen, views[0], rtol=0, atol=1e-4)
                turned += torch.allclose(seen, views[1], rtol=0, atol=1e-4)
    return as_it_is, turned


def test_half_of_the_training_pictures_are_mirrored(tmp_path: Path, tiny_base: Path) -> None:
    as_it_is, turned = shares(tmp_path, tiny_base, mirror=True)
    assert as_it_is + turned == EPOCHS
    assert 30 < turned < 70


def test_by_default_none_is(tmp_path: Path, tiny_base: Path) -> None:
    assert shares(tmp_path, tiny_base, mirror=False) == (EPOCHS, 0)


@pytest.mark.parametrize("vision", ["connector", "lora"])
def test_none_is_when_the_student_is_asked(tmp_path: Path, tiny_base: Path, vision: str) -> None:
    project = make_project(tmp_path, tiny_base, mirror=True, vision=vision)
    bitmap = lopsided(project, "val")
    trainer = trainer_of(project)
    asked = list[torch.Tensor]()

    class Noted(Collator):
        def __call__(self, examples: list[tuple[torch.Tensor, str]]) -> dict[str, torch.Tensor]:
            asked.extend(seen for seen, _ in examples)
            return super().__call__(examples)

    trainer.data_collator = Noted(trainer.student)
    trainer.callback_handler.callbacks.clear()
    trainer.fit.rows = len(Split(project, "val"))
    trainer.evaluate()
    assert len(asked) == len(Split(project, "val"))
    if vision == "lora":
        assert np.array_equal(asked[0].numpy(), bitmap)
    else:
        wanted = said(make_student(project, tiny_base), bitmap)
        torch.testing.assert_close(asked[0], wanted, rtol=0, atol=1e-4)
