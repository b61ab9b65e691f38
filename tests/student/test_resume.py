"""An interrupted training goes on from its last epoch."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from pocketvlm.base import find_base
from pocketvlm.student import train
from pocketvlm.student.train import _checkpoints
from pocketvlm.workspace import read_json
from tests.student.conftest import make_project

CHILD = """
import sys
from pathlib import Path
from tests.student.conftest import make_project
from pocketvlm.base import find_base
from pocketvlm.student import train
from pocketvlm.student.train import _checkpoints
train(make_project(Path(sys.argv[1]), Path(sys.argv[2]), epochs=40, patience=40))
"""


def test_killed_and_resumed(tmp_path: Path, tiny_base: Path) -> None:
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
    first = max(int(p.name.split("-")[1]) for p in checkpoints.glob("*/checkpoint-*"))
    done = _steps(root, tiny_base)
    assert done[0] >= 1
    assert len(done) == 40
    assert first < 40 * 6
    assert not list(checkpoints.glob("*"))


def test_a_half_written_checkpoint_is_thrown_away(tmp_path: Path, tiny_base: Path) -> None:
    project = make_project(tmp_path, tiny_base, epochs=1)
    key = _checkpoints(project, find_base(project).record)
    torn = key / "checkpoint-3"
    torn.mkdir(parents=True)
    (torn / "optimizer.pt").write_bytes(b"torn")
    assert train(project)["epochs"] == 1


def _steps(root: Path, base: Path) -> list[float]:
    """Resume in this process; the epochs its history knows."""
    dataset = root / "dataset"
    kept = root / "kept"
    dataset.rename(kept)
    project = make_project(root, base, epochs=40, patience=40)
    train(project)
    history = read_json(project.workspace.adapter / "history.json")
    return [row["epoch"] for row in history["val"]]
