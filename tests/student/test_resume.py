"""An interrupted training goes on from its last epoch."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from transformers import TrainerState

from pocketvlm.base import find_base
from pocketvlm.project import Project
from pocketvlm.runtime import ask_layout
from pocketvlm.student import train
from pocketvlm.student.checkpoints import checkpoint_folder
from pocketvlm.student.history import Reporter
from pocketvlm.workspace import Row, discard, read_json
from tests.student.conftest import make_project

CHILD = """
import sys
from pathlib import Path
from tests.student.conftest import make_project
from pocketvlm.student import train
train(make_project(Path(sys.argv[1]), Path(sys.argv[2]), epochs=40, patience=40))
"""


@pytest.mark.slow
def test_killed_and_resumed(
    tmp_path: Path, tiny_base: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It goes on from its last epoch, and ends as if nothing had happened."""
    root = tmp_path / "project"
    checkpoints = root / "state" / "checkpoints"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(root), str(tiny_base)], cwd=Path(__file__).parents[2]
    )
    deadline = time.monotonic() + 120
    while not list(checkpoints.glob("*/checkpoint-*/sealed.json")):
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    capfd.readouterr()
    resumed = _trained(root, tiny_base)
    assert "Going on from checkpoint-" in capfd.readouterr().err
    whole = _trained(tmp_path / "whole", tiny_base)
    assert "Going on" not in capfd.readouterr().err
    assert resumed["val"] == whole["val"]
    assert resumed["train"] == whole["train"]


def checkpoints(project: Project) -> Path:
    """Where an interrupted training of the project goes on."""
    base = find_base(project)
    return checkpoint_folder(project, base.record, ask_layout(base.folder, project.contract))


def test_a_half_written_checkpoint_is_thrown_away(tmp_path: Path, tiny_base: Path) -> None:
    project = make_project(tmp_path, tiny_base, epochs=1)
    key = checkpoints(project)
    torn = key / "checkpoint-3"
    torn.mkdir(parents=True)
    (torn / "optimizer.pt").write_bytes(b"torn")
    assert train(project)["epochs"] == 1


def test_a_kill_while_checkpoints_are_deleted_leaves_none_to_go_on_from(
    tmp_path: Path,
    tiny_base: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    project = make_project(tmp_path, tiny_base, epochs=1)
    whole = checkpoints(project) / "checkpoint-3"
    whole.mkdir(parents=True)
    (whole / "trainer_state.json").write_text("{}")

    def killed(folder: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            discard(whole.parent)
    assert train(project)["epochs"] == 1
    assert "Going on" not in capfd.readouterr().err


def test_the_count_to_an_early_stop_survives(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is learnt at this rate: two epochs without a better one end it after three."""
    project = make_project(tmp_path, tiny_base, epochs=8, patience=2, learning_rate=1e-12)

    def interrupted(
        _: Reporter, args: object, state: TrainerState, *__: object, **___: object
    ) -> None:
        if state.epoch == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Reporter, "on_evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(project)
    assert train(project)["epochs"] == 3


def _trained(root: Path, base: Path) -> Row:
    """Train, or go on, in this process; the history."""
    project = make_project(root, base, epochs=40, patience=40)
    train(project)
    history: Row = read_json(project.workspace.adapter / "history.json")
    return history
