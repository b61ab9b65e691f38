"""What both labelling benchmarks need: a workspace of many small pictures, and `pocketvlm label` as
a process whose events are read."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from pocketvlm.config import commented_yaml, parse_config
from pocketvlm.progress import track
from pocketvlm.project import Project
from pocketvlm.workspace import Row, append_row, sha256_file, write_rows, write_text

PRICE = {
    "input_usd": 0.15,
    "output_usd": 0.60,
    "image": {"rule": "fixed", "tokens": 1200},
    "source": "made up",
    "date": "2026-11-25",
}
"""Of the simulated teacher; its pictures take fewer tokens than that."""


def make_workspace(root: Path, count: int, url: str, **teacher: Any) -> Project:
    """A workspace with `count` collected pictures and a priced teacher at `url`."""
    settings = {"base_url": url, "model": "simulated", "timeout": 20} | teacher
    config = {"teachers": [settings], "prices": {"simulated": PRICE}}
    project = Project.of(parse_config(config), root)
    write_text(root / "pocketvlm.yaml", commented_yaml(project.config))
    if not project.workspace.index.is_file():
        draw(project, count)
    return project


def draw(project: Project, count: int) -> None:
    """Write small pictures, no two alike."""
    originals = project.workspace.originals
    originals.mkdir(parents=True, exist_ok=True)
    random, rows = np.random.default_rng(0), []
    for number in track(range(count), "Drawing", count):
        path = originals / f"{number}.png"
        pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC).save(path)
        row: Row = {"sha256": sha256_file(path), "file": path.name, "origin": path.name}
        rows.append(row | {"licence": "Apache-2.0", "width": 64, "height": 64})
    write_rows(project.workspace.index, rows)


class Labelling:
    """`pocketvlm label --json` at work."""

    def __init__(self, root: Path) -> None:
        command = [sys.executable, "-m", "pocketvlm", "label", "--json"]
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [*command, "-c", "pocketvlm.yaml"], cwd=root, stdout=subprocess.PIPE, text=True
        )
        self.memory = psutil.Process(self.process.pid)
        self.seconds = 0.0

    def events(self) -> Iterator[tuple[Row, float]]:
        """Each event with the process's resident memory then, MiB; ends with the process."""
        assert self.process.stdout
        for line in self.process.stdout:
            try:
                resident = self.memory.memory_info().rss / 2**20
            except psutil.NoSuchProcess:
                resident = 0.0
            yield json.loads(line), resident
        self.process.wait()
        self.seconds = time.monotonic() - self.started

    def kill(self) -> None:
        """As a power cut does."""
        self.process.kill()
        self.process.wait()


@contextmanager
def labelling(root: Path) -> Iterator[Labelling]:
    """Label in a process of its own, which does not outlive the block."""
    running = Labelling(root)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.kill()


__all__ = ["Labelling", "append_row", "labelling", "make_workspace"]
