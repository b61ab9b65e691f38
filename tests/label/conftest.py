"""A workspace with collected pictures and a teacher that answers what the test queues."""

import sys
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

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))  # the simulated teacher

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


@pytest.fixture
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves labels/report.html empty: to draw it takes longer than all the rest of a small run."""
    monkeypatch.setattr("pocketvlm.label.page.render", lambda *_, **__: "")


def make(
    root: Path, count: int, url: str, config: dict[str, Any] | None = None, **teacher: Any
) -> Project:
    """A workspace of `count` collected pictures that asks the endpoint `url`, one at a time."""
    settings = {"base_url": url, "model": "stand-in", "concurrency": 1, "retries": 2} | teacher
    project = Project.of(parse_config({"teachers": [settings]} | (config or {})), root)
    write_text(root / "pocketvlm.yaml", commented_yaml(project.config))
    originals, rows = project.workspace.originals, []
    originals.mkdir(exist_ok=True)
    for number in range(count):
        path = originals / f"{number}.png"
        Image.fromarray(np.full((40, 40, 3), number, np.uint8)).save(path)
        origin = f"pictures/{number}.png"
        row: Row = {"sha256": sha256_file(path), "file": path.name, "origin": origin}
        rows.append(row | {"width": 40, "height": 40})
    write_rows(project.workspace.index, rows)
    return project


def answers(project: Project) -> list[Row]:
    """The ledger's answer rows, in the order they were written."""
    return [row for row in read_rows(project.workspace.answers) if row["kind"] == "answer"]
