"""A training whose end was not written down yet is not trained again."""

import signal
from pathlib import Path

from tests.student.children import finish, history, left, prepare, undisturbed


def test_killed_before_its_manifest_it_keeps_its_checkpoints(
    tmp_path: Path, tiny_base: Path
) -> None:
    project = prepare(tmp_path / "project", tiny_base)
    code, said = finish(project, at="pocketvlm.pipeline.run:write_json:1", act="SIGKILL")
    assert code == -signal.SIGKILL, said
    assert (project.workspace.adapter / "history.json").is_file()
    code, said = finish(project)
    assert code == 0, said
    assert "Going on from checkpoint-12 " in said
    assert history(project) == undisturbed(tiny_base)
    assert not left(project)
