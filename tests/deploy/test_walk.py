"""Both ways of the old scripts with the real program, from pictures to a bundle."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.deploy.scripts import Checkout, quick_project

BEHIND = "mkdir -p logs; nohup ./run_remote.sh > logs/training.log 2>&1 & echo $!"


@pytest.mark.slow
def test_behind_a_terminal_that_ends_and_then_in_front(tmp_path: Path) -> None:
    project = quick_project(tmp_path / "my project")
    checkout = Checkout(tmp_path, real=True)
    log = tmp_path / "logs" / "training.log"

    env = os.environ | {"PROJECT": "my project"}
    shell = subprocess.Popen(
        ["bash", "-c", f"{BEHIND}; wait $!"], cwd=tmp_path, env=env, stdout=subprocess.PIPE
    )
    assert shell.stdout
    run = int(shell.stdout.readline())
    while not log.exists() or "Training on" not in log.read_text():
        assert shell.poll() is None, log.read_text()
        time.sleep(0.1)
    os.kill(run, signal.SIGHUP)  # what the end of ssh tells it
    assert shell.wait(400) == 0, log.read_text()
    assert "pocketvlm run -c my project/pocketvlm.yaml" in log.read_text()
    assert (project.workspace.bundle / "SHA256SUMS").is_file()

    done = checkout.run("quickstart.sh", PROJECT="my project")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(": up to date") == 6
