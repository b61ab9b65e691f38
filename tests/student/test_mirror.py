"""Mirrored pictures: half of them in training where it is asked for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pocketvlm.base import load_tokenizer
from pocketvlm.pictures import Bitmap
from pocketvlm.project import Project
from pocketvlm.runtime import ask_layout
from pocketvlm.sections import Train
from pocketvlm.student.data import Split
from pocketvlm.student.features import Lessons
from pocketvlm.student.inputs import pixel_values, tower_states
from pocketvlm.student.load import load_model
from pocketvlm.student.student import Student


@pytest.fixture
def student(project: Project, tiny_base: Path) -> Student:
    """The untrained student of the project."""
    layout = ask_layout(tiny_base, project.contract)
    model, tokenizer = load_model(tiny_base, torch.float32), load_tokenizer(tiny_base)
    return Student(model, tokenizer, project.contract, layout)


def lopsided(project: Project, split: str) -> Bitmap:
    """Make the first picture of a split differ from its mirror image; returns it."""
    bitmap = np.zeros((64, 64, 3), np.uint8)
    bitmap[:, :10] = 255
    Image.fromarray(bitmap).save(project.workspace.dataset / "images" / f"{split}0.png")
    return bitmap


def seen(student: Student, bitmap: Bitmap) -> torch.Tensor:
    """What the tower says of one picture, asked alone."""
    with torch.inference_mode():
        return tower_states(student.model, pixel_values([bitmap]))[0]


def shares(project: Project, student: Student, name: str, mirror: bool) -> tuple[int, int]:
    """How often the first picture of a split is shown as it is, and mirrored, of 200 times."""
    bitmap = lopsided(project, name)
    config = Train(mirror=mirror, connector=True)
    lessons = Lessons(student, Split(project, name), project.workspace.root / "seen", config)
    torch.manual_seed(0)
    shown = [lessons[0][0] for _ in range(200)]
    views = seen(student, bitmap), seen(student, bitmap[:, ::-1])
    as_it_is, turned = (
        sum(torch.allclose(one, view, rtol=0, atol=1e-4) for one in shown) for view in views
    )
    return as_it_is, turned


def test_half_of_the_training_pictures_are_mirrored(project: Project, student: Student) -> None:
    as_it_is, mirrored = shares(project, student, "train", mirror=True)
    assert as_it_is + mirrored == 200
    assert 70 < mirrored < 130


def test_by_default_none_is(project: Project, student: Student) -> None:
    assert shares(project, student, "train", mirror=False) == (200, 0)


def test_none_is_when_the_student_is_asked(project: Project, student: Student) -> None:
    assert shares(project, student, "val", mirror=True) == (200, 0)
