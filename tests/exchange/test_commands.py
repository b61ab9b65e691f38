"""The commands that exchange things wait for nobody: two at work would undo each other."""

from pathlib import Path

import pytest

from pocketvlm.pipeline.work import one_at_a_time
from pocketvlm.project import Project
from pocketvlm.workspace import write_text
from tests.test_cli import pocketvlm


@pytest.mark.parametrize(
    "command", [["export"], ["import"], ["push", "dataset"], ["push", "adapter"]]
)
def test_another_at_work_is_said(tmp_path: Path, command: list[str]) -> None:
    write_text(tmp_path / "pocketvlm.yaml", "")
    with one_at_a_time(Project.load(tmp_path / "pocketvlm.yaml")):
        done = pocketvlm(*command, "some/where", "-c", tmp_path / "pocketvlm.yaml")
    assert done.returncode == 1
    assert "another pocketvlm is at work" in done.stderr
