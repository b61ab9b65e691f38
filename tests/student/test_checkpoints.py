"""Checkpoints are whole or not used: damaged, short of disk, moved."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from pocketvlm.project import Project
from pocketvlm.student.checkpoints import SEAL, last_whole, seal
from pocketvlm.workspace import write_json
from tests.student.children import (
    FILLER,
    LOOK,
    SAVE,
    STEP,
    Child,
    finish,
    history,
    left,
    prepare,
    sealed,
    small_disk,
    undisturbed,
)

KINDS = (
    *("adapter_model.safetensors", "adapter_config.json", "optimizer.pt", "scheduler.pt"),
    *("rng_state.pth", "trainer_state.json", "training_args.bin", SEAL),
)
"""Files of a checkpoint."""


def make(folder: Path, step: int, best: int | None = None) -> Path:
    """A checkpoint as transformers leaves it, as far as it is read here, and sealed."""
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    write_json(checkpoint / "trainer_state.json", {"best_global_step": best})
    (checkpoint / "optimizer.pt").write_bytes(bytes(100))
    seal(checkpoint)
    return checkpoint


def flip(file: Path) -> None:
    """Turn one bit of its middle byte over."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def test_a_damaged_one_is_named_and_the_one_before_is_used(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    older, newer = make(tmp_path, 9), make(tmp_path, 12)
    assert last_whole(tmp_path) == newer
    flip(newer / "optimizer.pt")
    assert last_whole(tmp_path) == older
    assert capfd.readouterr().err == f"{newer} is damaged and is not used.\n"
    assert not newer.exists()


@pytest.mark.parametrize("name", ["optimizer.pt", SEAL])
def test_so_is_one_that_lacks_a_file(tmp_path: Path, name: str) -> None:
    older, newer = make(tmp_path, 9), make(tmp_path, 10)
    (newer / name).unlink()
    assert last_whole(tmp_path) == older


def test_without_the_best_epoch_nothing_later_is_used(tmp_path: Path) -> None:
    """The adapter that is kept in the end would be another."""
    first, best = make(tmp_path, 3), make(tmp_path, 6, best=6)
    later = make(tmp_path, 9, best=6)
    assert last_whole(tmp_path) == later
    flip(best / "optimizer.pt")
    assert last_whole(tmp_path) == first
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-3"]


@pytest.fixture
def stopped(tmp_path: Path, tiny_base: Path) -> Project:
    """Killed in step 9 of 12, with a checkpoint after every step."""
    project = prepare(tmp_path / "project", tiny_base)
    finish(project, at=f"{STEP}:9", act="SIGKILL", every=1e-9)
    return project


def test_three_are_kept_the_best_among_them(stopped: Project) -> None:
    kept = sealed(stopped)
    assert [path.name for path in kept] == ["checkpoint-6", "checkpoint-7", "checkpoint-8"]
    assert sorted(path.name for path in kept[-1].iterdir()) == sorted([*KINDS, "README.md"])


@pytest.mark.slow
def test_every_kind_of_damage_is_found(stopped: Project, tmp_path: Path, tiny_base: Path) -> None:
    folder, aside = sealed(stopped)[0].parent, tmp_path / "aside"
    shutil.copytree(folder, aside)
    for name in KINDS:
        shutil.rmtree(folder)
        shutil.copytree(aside, folder)
        flip(folder / "checkpoint-8" / name)
        found = last_whole(folder)
        assert found is not None and found.name == "checkpoint-7", name
    code, said = finish(stopped)
    assert code == 0
    assert "Going on from checkpoint-7 " in said
    assert history(stopped) == undisturbed(tiny_base)


@pytest.mark.slow
def test_an_early_stop_stays_one_when_the_adapter_could_not_be_written(
    tmp_path: Path, tiny_base: Path
) -> None:
    """It stops after three of eight epochs; the kill comes before the adapter is there."""
    settings: dict[str, Any] = {"epochs": 8, "patience": 2, "learning_rate": 1e-12}
    whole = undisturbed(tiny_base, **settings)
    killed = prepare(tmp_path / "killed", tiny_base, **settings)
    finish(killed, at=f"{SAVE}:1", act="SIGKILL")
    assert sealed(killed)[-1].name == "checkpoint-18"
    assert finish(killed)[0] == 0
    assert len(whole["val"]) == 3
    assert history(killed) == whole


@pytest.mark.slow
def test_a_workspace_may_move_with_its_best_epoch(tmp_path: Path, tiny_base: Path) -> None:
    """Nothing is learnt, so the first epoch is the best, whatever the last one would be."""
    settings: dict[str, Any] = {"epochs": 3, "patience": 9, "learning_rate": 1e-12}
    whole = undisturbed(tiny_base, **settings)
    there = prepare(tmp_path / "there", tiny_base, **settings)
    finish(there, at=f"{SAVE}:1", act="SIGKILL")
    shutil.move(there.workspace.root, tmp_path / "here")
    here = prepare(tmp_path / "here", tiny_base, **settings)
    code, said = finish(here)
    assert code == 0
    assert "Going on from checkpoint-18 " in said
    assert history(here) == whole


@pytest.mark.slow
@pytest.mark.parametrize("file", [1, 2, 3, 4, "state", "seal"])
def test_a_full_disk_leaves_the_last_good_one(
    tmp_path: Path, tiny_base: Path, file: int | str
) -> None:
    """It fills up before one of the files of the ninth checkpoint."""
    project = prepare(tmp_path / "project", tiny_base)
    moment = {
        "state": "transformers.trainer_callback:TrainerState.save_to_json:9",
        "seal": "pocketvlm.student.checkpoints:seal:9",
    }.get(str(file), f"transformers.trainer:Trainer._save_checkpoint:9 > torch:save:{file}")
    with small_disk(project.workspace.root / "state" / "checkpoints", 32) as disk:
        child = Child(project, at=moment, act=f"fill {disk}", every=1e-9)
        assert child.wait() == 1
        told_once_about(child, disk)
        (disk / FILLER).unlink()
        assert not list(disk.glob("*/checkpoint-9"))
        assert sealed(project)[-1].name == "checkpoint-8"
        code, said = finish(project)
        assert code == 0, said
        assert "Going on from checkpoint-8 " in said
        assert "damaged" not in said
        assert history(project) == undisturbed(tiny_base)
        assert not left(project)


@pytest.mark.slow
def test_a_full_disk_while_looking_loses_no_row(tmp_path: Path, tiny_base: Path) -> None:
    project = prepare(tmp_path / "project", tiny_base)
    with small_disk(project.workspace.root / "state" / "features", 32) as disk:
        child = Child(project, at=f"{LOOK}:3", act=f"fill {disk}")
        assert child.wait() == 1
        told_once_about(child, disk)
        (disk / FILLER).unlink()
        code, said = finish(project)
        assert code == 0, said


@pytest.mark.slow
@pytest.mark.parametrize("before", ["train:_save:1", "history:plot:1"])
def test_a_full_disk_while_the_adapter_is_written(
    tmp_path: Path, tiny_base: Path, before: str
) -> None:
    root = tmp_path / "project"
    with small_disk(root, 64):
        project = prepare(root, tiny_base)
        child = Child(project, at=f"pocketvlm.student.{before}", act=f"fill {root}")
        assert child.wait() == 1
        told_once_about(child, project.workspace.adapter)
        assert not [path for path in root.iterdir() if "adapter" in path.name]
        (root / FILLER).unlink()
        code, said = finish(project)
        assert code == 0, said
        assert "Going on from checkpoint-12 " in said
        assert history(project) == undisturbed(tiny_base)


def told_once_about(child: Child, disk: Path) -> None:
    """One line names the disk and says what is wrong with it."""
    assert len(child.errors) == 1, child.said
    assert "Traceback" not in child.said
    assert str(disk) in child.errors[0]
    assert "full" in child.errors[0] or "No space left" in child.errors[0]
    assert "make room" in child.errors[0]
