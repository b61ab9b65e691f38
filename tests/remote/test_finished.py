"""What is finished here is not done again there, and what the server has made stays."""

from pathlib import Path

import pytest

from pocketvlm.config import parse_config
from pocketvlm.pipeline import run as run_here
from pocketvlm.project import Project
from pocketvlm.remote.parcel import finished
from pocketvlm.remote.run import PROGRAM
from pocketvlm.workspace import sha256_file, write_text
from tests.remote.conftest import PYTHON
from tests.remote.sshd import Sshd, needs_sshd, remote


@needs_sshd
@pytest.mark.slow
def test_a_finished_training_goes_along(server: Sshd, colours: Project, there: Path) -> None:
    here = colours.workspace.root
    run_here(colours, last="train")
    stale = there / PROGRAM / "pocketvlm" / "of_an_older_version.py"
    write_text(stale, "")
    code, _, said = remote(server, here, "run", *PYTHON, "--until", "train")
    assert code == 0, said
    _, out, _ = remote(server, here, "logs", "-f")
    assert "prepare: up to date" in out
    assert "train: up to date" in out
    assert not stale.exists()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Everything that stages leave, as files with their names."""
    for folder in ("originals", "dataset", "adapter", "merged", "gguf", "report", "bundle"):
        write_text(tmp_path / folder / "file", folder)
    for stage in ("collect", "label", "prepare", "train", "merge", "convert", "run", "base"):
        write_text(tmp_path / "state" / f"{stage}.json", stage)
    write_text(tmp_path / "labels" / "report.html", "for people")
    return Project.of(parse_config({}), tmp_path)


EVERYTHING = [
    *("originals", "state/collect.json", "dataset", "state/prepare.json"),
    *("adapter", "state/train.json", "state/base.json", "labels/report.html", "state/label.json"),
]


def test_what_took_long_is_sent_and_what_weighs_much_is_made_again(project: Project) -> None:
    assert finished(project, {}) == EVERYTHING


def test_what_was_cut_off_is_sent_again(project: Project) -> None:
    """The manifest came last: where it is the same, the folder may still lack files."""
    manifest = project.workspace.manifest("train")
    assert finished(project, {"state/train.json": sha256_file(manifest)}) == EVERYTHING


def test_what_the_server_has_made_since_stays(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    names = finished(project, {"state/train.json": "another", "state/label.json": "another"})
    assert names == ["originals", "state/collect.json", "dataset", "state/prepare.json"]
    assert "adapter/: the server has its own and keeps it" in capsys.readouterr().err


def test_a_data_set_without_a_manifest_is_the_users_own(project: Project) -> None:
    project.workspace.manifest("prepare").unlink()
    assert "dataset" in finished(project, {})
    assert "dataset" not in finished(project, {"state/prepare.json": "another"})


def test_labels_of_a_file_need_no_originals(project: Project) -> None:
    custom = parse_config({"prepare": {"custom": "mine.json"}})
    assert "originals" not in finished(Project.of(custom, project.workspace.root), {})
