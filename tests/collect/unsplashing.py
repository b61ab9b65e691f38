"""A project that searches the local server for photographs, and what it is offered."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pocketvlm.collect.candidate import Candidate, Skipped
from pocketvlm.collect.unsplash import from_unsplash, tell_terms
from pocketvlm.config import parse_config
from pocketvlm.project import Project

from .unsplash_server import KEY, Server

QUERIES = {"fire": ["campfire", "lava"], "water": ["ocean"]}


def make(root: Path, server: Server, **changed: object) -> Project:
    """A workspace that searches the server."""
    settings = {"base_url": server.url, "queries": QUERIES, "width": 64} | changed
    return Project.of(parse_config({"collect": {"unsplash": settings}}), root)


def offered(project: Project, *seen: str, window: float = 3600.0, **wanted: int) -> list[Candidate]:
    """What is offered, where nothing is skipped."""
    found = list(from_unsplash(project, wanted, seen, window))
    assert not [one for one in found if isinstance(one, Skipped)]
    return [one for one in found if isinstance(one, Candidate)]


def refused(project: Project, **wanted: int) -> list[Skipped]:
    """What is skipped."""
    return [one for one in from_unsplash(project, wanted, ()) if isinstance(one, Skipped)]


def names(candidates: list[Candidate]) -> list[str]:
    """Their photographs."""
    return [one.origin.removeprefix("unsplash:") for one in candidates]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A key in the environment; no .env but the test's own."""
    monkeypatch.setenv("UNSPLASH_ACCESS_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    tell_terms.cache_clear()


__all__ = ["KEY", "environment", "make", "names", "offered", "refused", "server"]
