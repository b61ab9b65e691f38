"""A workspace with collected pictures and a teacher that answers what the test queues."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pocketvlm.config import commented_yaml, parse_config
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_rows, sha256_file, write_rows, write_text

from .server import Server

KEY = "sk-a-secret-that-nobody-may-read"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A key in the environment; no .env but the test's own."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)


def make(root: Path, count: int, url: str, **teacher: Any) -> Project:
    """A workspace of `count` collected pictures that asks the endpoint `url`, one at a time."""
    settings = {"base_url": url, "model": "stand-in", "concurrency": 1, "retries": 2} | teacher
    project = Project.of(parse_config({"teacher": settings}), root)
    write_text(root / "pocketvlm.yaml", commented_yaml(project.config))
    originals, rows = project.workspace.originals, []
    originals.mkdir(exist_ok=True)
    for number in range(count):
        path = originals / f"{number}.png"
        Image.fromarray(np.full((40, 40, 3), number, np.uint8)).save(path)
        origin = f"pictures/{number}.png"
        rows.append({"sha256": sha256_file(path), "file": path.name, "origin": origin})
    write_rows(project.workspace.index, rows)
    return project


def answers(project: Project) -> list[Row]:
    """The ledger's answer rows, in the order they were written."""
    return [row for row in read_rows(project.workspace.answers) if row["kind"] == "answer"]
