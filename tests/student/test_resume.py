"""An interrupted training goes on from its last epoch."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pocketvlm.base import find_base
from pocketvlm.student import train
from pocketvlm.student.train import _checkpoints
from pocketvlm.workspace import Row, read_json
from tests.student.conftest import make_project

CHILD = """
import sys
from pathlib import Path
from tests.student.conftest import make_project
from pocketvlm.student import train
train(make_project(Path(sys.argv[1]), Path(sys.argv[2]), epochs=40, patience=40))
"""


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
    while not list(checkpoints.glob("*/checkpoint-*/trainer_state.json")):
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    capfd.readouterr()
    resumed = _trained(root, tiny_base)
    assert "Going on from checkpoint-" in capfd.readouterr().err
    assert not list(checkpoints.glob("*"))
    whole = _trained(tmp_path / "whole", tiny_base)
    assert "Going on" not in capfd.readouterr().err
    assert resumed["val"] == whole["val"]
    assert resumed["train"] == whole["train"]


def test_a_half_written_checkpoint_is_thrown_away(tmp_path: Path, tiny_base: Path) -> None:
    project = make_project(tmp_path, tiny_base, epochs=1)
    key = _checkpoints(project, find_base(project).record)
    torn = key / "checkpoint-3"
    torn.mkdir(parents=True)
    (torn / "optimizer.pt").write_bytes(b"torn")
    assert train(project)["epochs"] == 1


def _trained(root: Path, base: Path) -> Row:
    """Train, or go on, in this process; the history."""
    project = make_project(root, base, epochs=40, patience=40)
    train(project)
    history: Row = read_json(project.workspace.adapter / "history.json")
    return history
