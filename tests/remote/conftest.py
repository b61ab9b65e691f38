"""A server, and projects that are sent to it."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pocketvlm.config import commented_yaml
from pocketvlm.project import Project
from pocketvlm.remote import server as script
from pocketvlm.remote.server import SCRIPT
from tests.e2e.test_whole_way import colour_project
from tests.remote.sshd import Sshd

PYTHON = ("--python", sys.executable)
"""One that has the packages."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    room = tmp_path / "server"
    room.mkdir()
    with Sshd(room) as server:
        yield server


@pytest.fixture
def colours(tmp_path: Path) -> Project:
    """Sky and grass in a folder with spaces and quotes in its name."""
    root = tmp_path / "here" / 'it\'s my "project" $HOME'
    train = {"epochs": 2, "effective_batch": 8, "learning_rate": 5e-3}
    project = colour_project(root, gates={"accuracy": 0.0}, train=train)
    (root / "pocketvlm.yaml").write_text(commented_yaml(project.config))
    return project


@pytest.fixture
def there(server: Sshd, colours: Project) -> Path:
    """Its folder on the server."""
    return server.home / "pocketvlm" / colours.workspace.root.name


def place(server: Sshd, root: Path) -> Path:
    """The project on the server as if it had been sent, with the script."""
    there = server.home / "pocketvlm" / root.name
    shutil.copytree(root, there)
    (there / SCRIPT).parent.mkdir(parents=True)
    shutil.copyfile(Path(script.__file__).with_name("server.sh"), there / SCRIPT)
    return there
