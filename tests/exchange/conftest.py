"""Workspaces with a small prepared data set."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pocketvlm.config import parse_config
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_rows, write_rows

SIDE = 64
SPLITS = ("train", "val", "test")


def configured(root: Path, **sections: Any) -> Project:
    """A project with a small bitmap."""
    return Project.of(parse_config({"device": {"side": SIDE}} | sections), root)


def picture(path: Path, seed: int, size: tuple[int, int] = (SIDE, SIDE)) -> Path:
    """Write a picture of random pixels; the name's ending decides the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(path)
    return path


def row(number: int, **fields: Any) -> Row:
    """A line as `prepare` writes it."""
    name = hashlib.sha256(str(number).encode()).hexdigest()
    line = {
        "id": name,
        "image": f"images/{name}.png",
        "label": ("water", "fire")[number % 2],
        "confidence": 0.5 + number / 100,
        "reason": f"It is number {number}.",
        "visual_features": ["waves", "foam"],
        "alternative": None,
        "source": "teacher",
        "reviewed": False,
        "origin": f"my {number}.jpg",
        "licence": "CC-BY-4.0",
    }
    return line | fields


def prepared(project: Project, splits: Mapping[str, list[Row]]) -> Project:
    """Write a data set: its lines, and a bitmap for each that a line names."""
    folder = project.workspace.dataset
    (folder / "images").mkdir(parents=True)
    for name in SPLITS:
        for number, line in enumerate(splits.get(name, [])):
            if not (folder / line["image"]).exists():
                picture(folder / line["image"], SPLITS.index(name) * 1000 + number)
        write_rows(folder / f"{name}.jsonl", splits.get(name, []))
    project.record_contract(folder)
    return project


def lines(project: Project) -> dict[str, list[Row]]:
    """The data set's lines by split."""
    return {name: list(read_rows(project.workspace.split(name))) for name in SPLITS}


def bitmaps(project: Project) -> dict[str, bytes]:
    """The bytes of every bitmap by its name."""
    folder = project.workspace.dataset
    files = (path for path in (folder / "images").rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Six pictures in train, three in val, two in test."""
    numbers = iter(range(100))
    sizes = {"train": 6, "val": 3, "test": 2}
    splits = {name: [row(next(numbers)) for _ in range(size)] for name, size in sizes.items()}
    return prepared(configured(tmp_path / "workspace"), splits)
