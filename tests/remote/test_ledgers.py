"""Answers are paid once: no ledger is ever written over by one that lacks a line of it."""

import json
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketvlm.config import commented_yaml, parse_config
from pocketvlm.errors import PocketError
from pocketvlm.project import Project
from pocketvlm.remote.fetch import fetch
from pocketvlm.remote.ledgers import newer
from pocketvlm.remote.run import _is_ahead
from pocketvlm.remote.server import Found, Server
from pocketvlm.workspace import sha256_file
from tests.remote.conftest import place
from tests.remote.sshd import Sshd, needs_sshd

NAME = "labels/answers.jsonl"


def lines(*keys: str) -> str:
    return "".join(json.dumps({"key": key}) + "\n" for key in keys)


@pytest.fixture
def labelled(server: Sshd, tmp_path: Path) -> tuple[Project, Path, Server]:
    """A project here, the same there, and the way to it."""
    root = tmp_path / "here"
    (root / "labels").mkdir(parents=True)
    config = parse_config({})
    (root / "pocketvlm.yaml").write_text(commented_yaml(config))
    (root / NAME).write_text(lines("a", "b"))
    there = place(server, root)
    reached = Server.of("127.0.0.1", None, server.ssh, root / "pocketvlm.yaml")
    return Project.of(config, root), there, reached


def ahead(project: Project, there: Path, reached: Server) -> bool:
    found = Found(holds={NAME: sha256_file(there / NAME)})
    return _is_ahead(reached, project.workspace.root, NAME, found)


@needs_sshd
@pytest.mark.parametrize(
    ("here", "there", "sent"), [("ab", "ab", False), ("abc", "ab", True), ("ab", "abc", False)]
)
def test_only_the_longer_one_is_sent(
    labelled: tuple[Project, Path, Server], here: str, there: str, sent: bool
) -> None:
    project, folder, _ = labelled
    (project.workspace.root / NAME).write_text(lines(*here))
    (folder / NAME).write_text(lines(*there))
    assert ahead(*labelled) is sent


@needs_sshd
def test_lines_on_both_sides_are_neither_sent_nor_fetched_but_joined(
    labelled: tuple[Project, Path, Server],
) -> None:
    project, there, reached = labelled
    ours = project.workspace.answers
    ours.write_text(lines("a", "mine"))
    (there / NAME).write_text(lines("a", "theirs"))
    with pytest.raises(PocketError, match="fetch labels"):
        ahead(*labelled)
    with pytest.raises(PocketError, match="nothing is lost by joining them: grep") as told:
        fetch(reached, project, ["labels"])
    assert ours.read_text() == lines("a", "mine")
    subprocess.run(str(told.value).rpartition("joining them: ")[2], shell=True, check=True)
    assert ours.read_text() == lines("a", "mine", "theirs")
    fetch(reached, project, ["labels"])
    assert ours.read_text() == lines("a", "mine", "theirs")
    assert ahead(*labelled)
    assert [path.name for path in ours.parent.iterdir()] == ["answers.jsonl"]


@needs_sshd
def test_what_the_server_paid_comes_back(labelled: tuple[Project, Path, Server]) -> None:
    project, there, reached = labelled
    (there / NAME).write_text(lines("a", "b", "c"))
    (there / "labels" / "report.html").write_text("for people")
    fetch(reached, project, ["labels"])
    assert project.workspace.answers.read_text() == lines("a", "b", "c")
    assert project.workspace.label_report.is_file()


@needs_sshd
def test_a_longer_one_here_stays(labelled: tuple[Project, Path, Server]) -> None:
    project, _, reached = labelled
    project.workspace.answers.write_text(lines("a", "b", "c"))
    fetch(reached, project, ["labels"])
    assert project.workspace.answers.read_text() == lines("a", "b", "c")


@needs_sshd
def test_pictures_come_to_those_that_are_here(labelled: tuple[Project, Path, Server]) -> None:
    project, there, reached = labelled
    for folder, keys in ((project.workspace.originals, "a"), (there / "originals", "ab")):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for key in keys:
            (folder / f"{key}.png").write_text(key)
        (folder / "index.jsonl").write_text(lines(*keys))
    (project.workspace.originals / "mine.png").touch()
    fetch(reached, project, ["originals"])
    found = sorted(path.name for path in project.workspace.originals.iterdir())
    assert found == ["a.png", "b.png", "index.jsonl", "mine.png"]
    assert project.workspace.index.read_text() == lines("a", "b")


KEYS = st.lists(st.sampled_from("abcd"), unique=True)


@given(KEYS, KEYS, st.booleans())
def test_newer_is_who_has_every_line(ours: list[str], theirs: list[str], torn: bool) -> None:
    expected: Any = {
        (True, True): "same",
        (True, False): "ours",
        (False, True): "theirs",
        (False, False): "neither",
    }[set(ours) >= set(theirs), set(ours) <= set(theirs)]
    with TemporaryDirectory() as folder:
        both = Path(folder) / "ours", Path(folder) / "theirs"
        both[0].write_text(lines(*ours) + ('{"key": "tor' if torn else ""))
        both[1].write_text(lines(*theirs))
        assert newer(*both) == expected
