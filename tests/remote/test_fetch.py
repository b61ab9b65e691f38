"""Folders come back whole or not at all."""

import os
import shutil
import threading
from pathlib import Path

import pytest

from pocketvlm.config import commented_yaml, parse_config
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.project import Project
from pocketvlm.remote.fetch import fetch
from pocketvlm.remote.server import Server
from pocketvlm.workspace import write_text
from tests.remote.conftest import place
from tests.remote.sshd import Sshd, needs_sshd, wait_for

pytestmark = needs_sshd


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "it's here"
    root.mkdir()
    (root / "pocketvlm.yaml").write_text(commented_yaml(parse_config({})))
    for name in ("bundle", "report", "adapter"):
        write_text(root / name / "old.txt", "old")
        write_text(root / name / "same.txt", "same")
    return Project.of(parse_config({}), root)


@pytest.fixture
def there(server: Sshd, project: Project) -> Path:
    """The project on the server, where the run has made everything anew."""
    folder = place(server, project.workspace.root)
    for name, stage in (("bundle", "bundle"), ("report", "validate"), ("adapter", "train")):
        (folder / name / "old.txt").unlink()
        write_text(folder / name / "new.txt", "new")
        write_text(folder / "state" / f"{stage}.json", "{}")
    return folder


@pytest.fixture
def reached(server: Sshd, project: Project) -> Server:
    config = project.workspace.root / "pocketvlm.yaml"
    return Server.of("127.0.0.1", None, server.ssh, config)


def inside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_bundle_and_report_by_default(project: Project, there: Path, reached: Server) -> None:
    fetch(reached, project, [])
    root = project.workspace.root
    assert inside(root / "bundle") == inside(root / "report") == ["new.txt", "same.txt"]
    assert inside(root / "adapter") == ["old.txt", "same.txt"]
    assert inside(root / "state") == ["bundle.json", "validate.json"]
    assert not [name for name in inside(root) if name.startswith(".")]


def test_a_missed_gate_leaves_a_report(
    project: Project, there: Path, reached: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(there / "bundle")
    fetch(reached, project, [])
    assert inside(project.workspace.report) == ["new.txt", "same.txt"]
    assert inside(project.workspace.bundle) == ["old.txt", "same.txt"]
    assert "has no bundle" in capsys.readouterr().err


def test_more_where_it_is_named(project: Project, there: Path, reached: Server) -> None:
    fetch(reached, project, ["adapter"])
    root = project.workspace.root
    assert inside(root / "adapter") == ["new.txt", "same.txt"]
    assert inside(root / "bundle") == ["old.txt", "same.txt"]


def test_a_cut_leaves_the_old_one_and_the_next_try_goes_on(
    server: Sshd, project: Project, there: Path, reached: Server
) -> None:
    size = 10_000_000
    (there / "bundle" / "large.bin").write_bytes(os.urandom(size))
    bundle, errors = project.workspace.bundle, list[PocketError]()

    def attempt() -> None:
        try:
            fetch(reached, project, ["bundle"])
        except PocketError as error:
            errors.append(error)

    (server.room / "slow").touch()
    trying = threading.Thread(target=attempt)
    trying.start()
    wait_for((server.room / "reached").exists, server.said)
    server.cut()
    trying.join()
    assert "the connection broke" in str(errors[0])
    assert inside(bundle) == ["old.txt", "same.txt"]
    kept = bundle.with_name(".bundle.coming") / ".partial" / "large.bin"
    assert 0 < kept.stat().st_size < size
    fetch(reached, project, ["bundle"])
    assert inside(bundle) == ["large.bin", "new.txt", "same.txt"]
    assert not [name for name in inside(project.workspace.root) if name.startswith(".")]


def test_what_is_not_there_yet_is_named(project: Project, there: Path, reached: Server) -> None:
    with pytest.raises(PocketError, match=r"no gguf in .* yet: see `pocketvlm remote"):
        fetch(reached, project, ["gguf", "bundle"])
    assert inside(project.workspace.bundle) == ["old.txt", "same.txt"]


def test_what_is_no_folder_of_a_workspace(project: Project, reached: Server) -> None:
    with pytest.raises(ConfigError, match="state is not among adapter, bundle"):
        fetch(reached, project, ["state"])


def test_a_link_to_a_larger_disk_stays_a_link(
    project: Project, there: Path, reached: Server, tmp_path: Path
) -> None:
    large = tmp_path / "large disk"
    large.mkdir()
    bundle = project.workspace.bundle
    bundle.rename(large / "bundle of mine")
    bundle.symlink_to(large / "bundle of mine")
    fetch(reached, project, ["bundle"])
    assert bundle.is_symlink()
    assert inside(bundle) == ["new.txt", "same.txt"]
