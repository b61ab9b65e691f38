"""Second opinions: which pictures go to the stronger teacher, and what comes of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pocketvlm.config import parse_config
from pocketvlm.label import answers_of, label
from pocketvlm.label.plan import unsure
from pocketvlm.project import Project

from .conftest import answers, make
from .server import Reply, Server, answer, says

SURE = answer(confidence=0.95, alternative=None)


@pytest.fixture
def strong() -> Iterator[Server]:
    with Server() as server:
        server.usual = answer(label="metal", confidence=0.9, alternative=None)
        yield server


def two(root: Path, count: int, cheap: Server, strong: Server, **first: Any) -> Project:
    """A workspace with a cheap and a strong teacher."""
    project = make(root, count, cheap.url)
    one = {"base_url": cheap.url, "model": "cheap", "concurrency": 1, "retries": 0} | first
    other = {"base_url": strong.url, "model": "strong", "concurrency": 1, "retries": 0}
    return Project.of(parse_config({"teachers": [one, other]}), project.workspace.root)


@pytest.mark.parametrize(
    ("reply", "goes_on"),
    [
        (SURE, False),
        (answer(confidence=0.79, alternative=None), True),
        (answer(confidence=0.95, alternative="land"), True),
        (answer(confidence=0.95, alternative="water"), False),
        (answer(confidence=0.95, alternative=None, label="none"), True),
        (answer(confidence=0.95, alternative=None, label="aether"), True),
        (says(None, refusal="I cannot."), True),
        (says("It is water."), True),
    ],
)
def test_who_goes_on(
    tmp_path: Path, server: Server, strong: Server, reply: Reply, goes_on: bool
) -> None:
    server.usual = reply
    label(two(tmp_path, 1, server, strong))
    assert len(strong.asked) == goes_on


def test_a_call_that_failed_is_asked_again_and_not_passed_on(
    tmp_path: Path, server: Server, strong: Server
) -> None:
    server.queue.extend([SURE, Reply(500, "broken")])
    project = two(tmp_path, 2, server, strong)
    assert label(project)["status"] == {"ok": 1, "failed": 1}
    assert strong.asked == []
    server.usual = SURE
    assert label(project)["status"] == {"ok": 2}


def test_the_strong_teacher_decides_and_its_reason_stands(
    tmp_path: Path, server: Server, strong: Server
) -> None:
    server.queue.append(SURE)
    strong.usual = answer(label="metal", confidence=0.9, alternative=None, reason="A hull.")
    project = two(tmp_path, 3, server, strong)
    assert label(project)["labels"] == {"water": 1, "metal": 2}
    rows = [row for _, row in answers_of(project)]
    assert [row["reason"] for row in rows] == ["It shows a lake.", "A hull.", "A hull."]
    assert [row["agreement"] for row in rows] == [None, 0.5, 0.5]
    assert [row["opinions"] for row in rows] == [1, 2, 2]
    assert rows[0]["confidence"] == 0.95  # one opinion keeps what it states
    assert rows[1]["confidence"] < 0.9  # two that differ are less sure than the one says


def test_nothing_is_asked_twice(tmp_path: Path, server: Server, strong: Server) -> None:
    project = two(tmp_path, 4, server, strong)
    first = label(project)
    assert label(project) == first | {"asked": 0}
    assert (len(server.asked), len(strong.asked)) == (4, 4)
    assert {row["model"] for row in answers(project)} == {"cheap", "strong"}


def test_a_second_teacher_added_later_asks_only_what_it_must(
    tmp_path: Path, server: Server, strong: Server
) -> None:
    server.queue.extend([SURE, SURE])
    project = two(tmp_path, 4, server, strong)
    alone = Project.of(
        project.config.model_copy(update={"teachers": project.config.teachers[:1]}), tmp_path
    )
    label(alone)
    label(project)
    assert (len(server.asked), len(strong.asked)) == (4, 2)


def test_repeats_that_differ_go_on(tmp_path: Path, server: Server, strong: Server) -> None:
    fire = answer(label="fire", confidence=0.95, alternative=None)
    server.queue.extend([SURE, SURE, SURE, fire])
    project = two(tmp_path, 2, server, strong, repeats=2, temperature=0.7)
    label(project)
    assert (len(server.asked), len(strong.asked)) == (4, 1)
    assert [row["opinions"] for _, row in answers_of(project)] == [2, 3]


def test_a_call_that_failed_says_nothing_about_certainty() -> None:
    config = parse_config({"teachers": [{}, {"model": "strong"}]})
    assert not unsure([], 0, config)
    assert not unsure([{"teacher": 0, "status": "failed"}], 0, config)
