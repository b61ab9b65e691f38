"""The student of a project, its lessons and its trainer, as training makes them."""

from pathlib import Path

import torch

from pocketvlm.base import load_tokenizer
from pocketvlm.project import Project
from pocketvlm.runtime import ask_layout
from pocketvlm.sections import Train
from pocketvlm.student import train
from pocketvlm.student.data import Split
from pocketvlm.student.features import Lessons
from pocketvlm.student.history import Reporter
from pocketvlm.student.load import load_model
from pocketvlm.student.ranks import Ranks
from pocketvlm.student.student import Student
from pocketvlm.student.train import Plan, arguments, make_trainer
from pocketvlm.student.trainer import StudentTrainer
from pocketvlm.workspace import Row, read_json, read_rows, write_rows

ALONE = Ranks(0, 1)


def make_student(project: Project, base: Path, dtype: torch.dtype = torch.float32) -> Student:
    """The untrained student of a project."""
    layout = ask_layout(base, project.contract)
    return Student(load_model(base, dtype), load_tokenizer(base), project.contract, layout)


def lessons_of(student: Student, split: Split, root: Path, **config: object) -> Lessons:
    """What one process alone is shown of a split."""
    return Lessons(student, split, root, Train.model_validate(config), ALONE)


def trainer_of(project: Project) -> StudentTrainer:
    """The trainer of a project, before its first step."""
    plan = Plan.of(project)
    reporter = Reporter(project, plan.shown.labels, plan.val.labels)
    return make_trainer(plan, arguments(plan), reporter, None)


def trained(project: Project) -> Row:
    """Train, or go on; the history."""
    train(project)
    history: Row = read_json(project.workspace.adapter / "history.json")
    return history


def repeat(project: Project, split: str, times: int) -> None:
    """List every picture of a split several times."""
    rows = list(read_rows(project.workspace.split(split)))
    write_rows(project.workspace.split(split), rows * times)
