"""Features are computed once, kept on the disk, and are those of the pictures."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pocketvlm.base import load_tokenizer
from pocketvlm.errors import PocketError
from pocketvlm.project import Project
from pocketvlm.runtime import ask_layout
from pocketvlm.sections import Train
from pocketvlm.student.data import Split
from pocketvlm.student.features import Lessons
from pocketvlm.student.inputs import image_features, pixel_values, tower_states
from pocketvlm.student.load import load_model
from pocketvlm.student.student import Student


def make_student(project: Project, base: Path, dtype: torch.dtype) -> Student:
    """The untrained student of a project."""
    layout = ask_layout(base, project.contract)
    return Student(load_model(base, dtype), load_tokenizer(base), project.contract, layout)


@pytest.fixture
def student(project: Project, tiny_base: Path) -> Student:
    """The same in float32."""
    return make_student(project, tiny_base, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("connector", [False, True])
def test_they_are_those_of_the_pictures(
    project: Project, tiny_base: Path, tmp_path: Path, connector: bool, dtype: torch.dtype
) -> None:
    student = make_student(project, tiny_base, dtype)
    split = Split(project, "train")
    lessons = Lessons(student, split, tmp_path / "kept", Train(connector=connector))
    see = tower_states if connector else image_features
    with torch.inference_mode():
        pixels = pixel_values([split[at][0] for at in range(len(split))])
        wanted = see(student.model, pixels)
    shown = torch.stack([lessons[at][0] for at in range(len(lessons))])
    assert shown.dtype == dtype
    assert shown.shape == wanted.shape
    torch.testing.assert_close(shown, wanted, rtol=0, atol=1e-4 if dtype == torch.float32 else 0.1)
    assert [lessons[at][1] for at in range(len(lessons))] == split.labels


def test_a_training_that_goes_on_reads_them_again(
    project: Project, student: Student, tmp_path: Path
) -> None:
    split = Split(project, "train")
    first = Lessons(student, split, tmp_path / "kept", Train())
    shutil.rmtree(project.workspace.dataset / "images")
    second = Lessons(student, split, tmp_path / "kept", Train())
    assert torch.equal(first.features, second.features)


def test_a_killed_look_and_a_short_file_are_made_again(
    project: Project, student: Student, tmp_path: Path
) -> None:
    split, kept = Split(project, "train"), tmp_path / "kept"
    whole = Lessons(student, split, kept, Train()).features.clone()
    file = next(kept.iterdir())
    file.write_bytes(file.read_bytes()[:-8])
    (kept / f".{file.name}.killed").write_bytes(b"half")
    assert torch.equal(Lessons(student, split, kept, Train()).features, whole)
    assert list(kept.iterdir()) == [file]


def test_an_interrupted_look_leaves_nothing_half_done(
    project: Project, student: Student, tmp_path: Path
) -> None:
    split = Split(project, "train")
    lost = project.workspace.dataset / "images" / "train20.png"
    lost.rename(tmp_path / "away.png")
    with pytest.raises(PocketError, match="pocketvlm prepare"):
        Lessons(student, split, tmp_path / "kept", Train())
    assert not list((tmp_path / "kept").iterdir())
    (tmp_path / "away.png").rename(lost)
    assert len(Lessons(student, split, tmp_path / "kept", Train())) == 24


def test_a_full_disk_is_told_before_it_is_full(
    project: Project, student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(PocketError, match="make room"):
        Lessons(student, Split(project, "train"), tmp_path / "kept", Train())
