"""Features are computed once, kept on the disk, and are those of the pictures."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from pocketvlm.errors import PocketError
from pocketvlm.project import Project
from pocketvlm.sections import Train
from pocketvlm.student import features
from pocketvlm.student.cache import KEY
from pocketvlm.student.data import Split
from pocketvlm.student.features import Kind, kind_of
from pocketvlm.student.inputs import image_features, pixel_values, tower_states
from pocketvlm.student.student import Student
from pocketvlm.workspace import read_rows, write_rows
from tests.student.students import lessons_of, make_student


@pytest.fixture
def student(project: Project, tiny_base: Path) -> Student:
    """The untrained student, in float32."""
    return make_student(project, tiny_base)


def kept(root: Path) -> dict[str, int]:
    """How many rows each folder of `root` holds, by what they are of."""
    counts = dict[str, int]()
    for file in root.glob("*/*/*.keys"):
        kind = file.parent.parent.name
        counts[kind] = counts.get(kind, 0) + file.stat().st_size // KEY
    return counts


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (Train(), "features"),
        (Train(vision="connector"), "states"),
        (Train(vision="lora"), "pixels"),
        (Train(cache=False), "pixels"),
        (Train(vision="connector", cache=False), "pixels"),
    ],
)
def test_what_is_kept_is_before_all_that_learns(config: Train, kind: Kind) -> None:
    assert kind_of(config) == kind


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("vision", ["frozen", "connector"])
def test_they_are_those_of_the_pictures(
    project: Project, tiny_base: Path, tmp_path: Path, vision: str, dtype: torch.dtype
) -> None:
    """Mirrored or not, each at its place, in the numbers of the tower."""
    student, split = make_student(project, tiny_base, dtype), Split(project, "train")
    lessons = lessons_of(student, split, tmp_path / "kept", vision=vision, mirror=True)
    see = tower_states if vision == "connector" else image_features
    items = [(at, view) for at in reversed(range(len(split))) for view in (0, 1)]
    shown = lessons.__getitems__(items)
    with torch.inference_mode():
        bitmaps = [split[at][0][:, :: -1 if view else 1] for at, view in items]
        wanted = see(student.model, pixel_values(bitmaps))
    seen = torch.stack([one for one, _ in shown])
    assert seen.dtype == dtype and seen.shape == wanted.shape
    assert (seen - wanted).abs().max() < (1e-4 if dtype == torch.float32 else 0.1)
    assert (wanted[::2] - wanted[1::2]).abs().amax(dim=(1, 2)).min() > 1e-3  # views do differ
    assert [label for _, label in shown] == [split.labels[at] for at, _ in items]


def test_without_them_the_bitmaps_are_shown(
    project: Project, student: Student, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    split = Split(project, "train")
    lessons = lessons_of(student, split, tmp_path / "kept", vision="lora", mirror=True)
    for view in (0, 1):
        seen, label = lessons[3, view]
        assert seen.dtype == torch.uint8 and label == split.labels[3]
        assert np.array_equal(seen.numpy(), split[3][0][:, :: -1 if view else 1])
    assert not (tmp_path / "kept").exists()
    assert not [one for one in recwarn if "writable" in str(one.message)]


@pytest.mark.parametrize("config", [{}, {"vision": "connector"}, {"vision": "lora"}])
def test_a_share_of_no_picture_is_empty(
    project: Project, student: Student, tmp_path: Path, config: dict[str, object]
) -> None:
    """The last batch of an epoch can be smaller than the number of processes."""
    lessons = lessons_of(student, Split(project, "train"), tmp_path / "kept", **config)
    assert lessons.__getitems__([]) == []


def test_a_training_that_goes_on_reads_them_again(
    project: Project, student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = Split(project, "train")
    first = lessons_of(student, split, tmp_path / "kept")
    monkeypatch.setattr(features, "tower_states", None)  # nothing is looked at
    second = lessons_of(student, split, tmp_path / "kept", rank=4, learning_rate=1.0, seed=3)
    for at in range(len(split)):
        assert torch.equal(first[at, 0][0], second[at, 0][0])


def test_another_question_reads_them_again(
    project: Project, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lessons_of(make_student(project, tiny_base), Split(project, "train"), tmp_path / "kept")
    task = project.config.task.model_copy(update={"question": "What is this?"})
    other = Project.of(project.config.model_copy(update={"task": task}), project.workspace.root)
    student = make_student(other, tiny_base)
    assert student.prompt != make_student(project, tiny_base).prompt
    monkeypatch.setattr(features, "tower_states", None)
    lessons_of(student, Split(other, "train"), tmp_path / "kept")


def test_equal_pictures_are_looked_at_once(
    project: Project, student: Student, tmp_path: Path
) -> None:
    rows = list(read_rows(project.workspace.split("train")))
    images = project.workspace.dataset / "images"
    shutil.copyfile(images / "train0.png", images / "train1.png")  # the same under another name
    write_rows(project.workspace.split("train"), rows[:6] * 3)
    lessons = lessons_of(student, Split(project, "train"), tmp_path / "kept", mirror=True)
    assert kept(tmp_path / "kept") == {"features": 5 * 2}
    for view in (0, 1):
        assert torch.equal(lessons[0, view][0], lessons[1, view][0])
        assert torch.equal(lessons[2, view][0], lessons[8, view][0])
        assert not torch.equal(lessons[0, view][0], lessons[2, view][0])


def test_only_what_is_new_is_looked_at(
    project: Project, student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a data set that lost some pictures, got others and was shuffled."""
    lessons_of(student, Split(project, "train"), tmp_path / "kept")
    rows = list(read_rows(project.workspace.split("train")))
    new = np.full((64, 64, 3), 7, np.uint8)
    Image.fromarray(new).save(project.workspace.dataset / rows[0]["image"])
    write_rows(project.workspace.split("train"), rows[12::-1])
    looked = list[int]()

    def noted(model: object, pixels: torch.Tensor) -> torch.Tensor:
        looked.append(len(pixels))
        return tower_states(student.model, pixels)

    monkeypatch.setattr(features, "tower_states", noted)
    split = Split(project, "train")
    lessons = lessons_of(student, split, tmp_path / "kept")
    assert looked == [1]
    with torch.inference_mode():
        wanted = image_features(student.model, pixel_values([split[at][0] for at in range(13)]))
    seen = torch.stack([lessons[at, 0][0] for at in range(13)])
    torch.testing.assert_close(seen, wanted, rtol=0, atol=1e-4)
    lessons_of(student, split, tmp_path / "kept", mirror=True)
    assert sum(looked) == 1 + 13  # the mirrored views


def enlarged(project: Project) -> Project:
    """The same pictures under a contract of twice the side."""
    device = project.config.device.model_copy(update={"side": 128})
    for path in (project.workspace.dataset / "images").iterdir():
        bitmap = np.asarray(Image.open(path))
        Image.fromarray(bitmap.repeat(2, axis=0).repeat(2, axis=1)).save(path)
    config = project.config.model_copy(update={"device": device})
    return Project.of(config, project.workspace.root)


def test_other_weights_or_another_side_discard_them(
    project: Project, student: Student, tiny_base: Path, tmp_path: Path
) -> None:
    split, root = Split(project, "train"), tmp_path / "kept"
    first = lessons_of(student, split, root)[0, 0][0]
    with torch.no_grad():
        student.model.model.connector.modality_projection.proj.weight[0, 0] += 1
    second = lessons_of(student, split, root)[0, 0][0]
    assert not torch.equal(first, second)
    assert kept(root) == {"features": 24}
    wide = enlarged(project)
    lessons_of(make_student(wide, tiny_base), Split(wide, "train"), root)
    assert kept(root) == {"features": 24}
    assert len(list((root / "features").iterdir())) == 1


def test_frozen_and_connector_are_kept_apart(
    project: Project, student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another connector changes nothing that the tower says."""
    split, root = Split(project, "train"), tmp_path / "kept"
    for vision in ("frozen", "connector"):
        lessons_of(student, split, root, vision=vision)
    assert kept(root) == {"features": 24, "states": 24}
    with torch.no_grad():
        student.model.model.connector.modality_projection.proj.weight[0, 0] += 1
    monkeypatch.setattr(features, "tower_states", None)
    lessons_of(student, split, root, vision="connector")
    with pytest.raises(TypeError):
        lessons_of(student, split, root, vision="frozen")


def test_an_interrupted_look_keeps_what_was_looked_at(
    project: Project, student: Student, tmp_path: Path
) -> None:
    split, root = Split(project, "train"), tmp_path / "kept"
    lost = project.workspace.dataset / "images" / "train20.png"
    whole = lost.read_bytes()
    lost.write_bytes(whole[:50])
    with pytest.raises(PocketError, match="pocketvlm prepare"):
        lessons_of(student, split, root)
    assert kept(root) == {"features": 16}  # the batch before
    lost.write_bytes(whole)
    assert len(lessons_of(student, split, root)) == 24
    assert kept(root) == {"features": 24}


def test_a_missing_picture_is_named(project: Project, student: Student, tmp_path: Path) -> None:
    (project.workspace.dataset / "images" / "train20.png").unlink()
    with pytest.raises(PocketError, match=r"train20\.png cannot be read .*pocketvlm prepare"):
        lessons_of(student, Split(project, "train"), tmp_path / "kept")


def test_a_full_disk_is_told_before_it_is_full(
    project: Project, student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(PocketError, match="make room"):
        lessons_of(student, Split(project, "train"), tmp_path / "kept")
