"""The tools' own linters over everything they know: shell, Dockerfile."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.deploy.scripts import ROOT

OURS = [*sorted(ROOT.glob("*.sh")), *sorted((ROOT / "src").rglob("*.sh"))]
SCRIPTS = [*OURS, ROOT / "deploy" / "pocketvlm.slurm", ROOT / ".ci" / "run"]
TASK = yaml.safe_load((ROOT / "deploy" / "skypilot.yaml").read_text())


def lint(*command: str, given: str = "") -> str:
    """What a linter finds; skips where it is not installed."""
    beside = Path(sys.executable).parent
    program = shutil.which(command[0], path=str(beside)) or shutil.which(command[0])
    if program is None:
        pytest.skip(f"{command[0]} is not here: pip install -r requirements.txt")
    done = subprocess.run(
        [program, *command[1:]], input=given, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script(script: Path) -> None:
    assert lint("shellcheck", str(script)) == ""


@pytest.mark.parametrize("script", sorted(ROOT.glob("*.sh")), ids=lambda path: path.name)
def test_a_script_for_people_can_be_run(script: Path) -> None:
    assert script.stat().st_mode & 0o111 == 0o111
    assert "\nset -euo pipefail\n" in script.read_text()


@pytest.mark.parametrize("block", ["setup", "run"])
def test_the_shell_of_the_task(block: str) -> None:
    assert lint("shellcheck", "--shell=bash", "-", given=TASK[block]) == ""


def test_the_dockerfile() -> None:
    assert lint("hadolint", "--no-color", str(ROOT / "deploy" / "Dockerfile")) == ""


def test_the_linters_find_something() -> None:
    assert "SC2086" in lint("shellcheck", "--shell=bash", "-", given="rm $1\n")
    assert "DL3006" in lint("hadolint", "--no-color", "-", given="FROM debian\n")
