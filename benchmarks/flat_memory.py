"""How much memory training holds as its pictures become more: part of training.py."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from clock import Measured, run
from pocketvlm.config import parse_config
from pocketvlm.progress import track
from pocketvlm.project import Project
from pocketvlm.student.tiny import save_tiny
from pocketvlm.workspace import Row, write_json, write_rows

FEW, MANY, KILOBYTE = 1_000, 100_000, 1.0
"""Pictures of the two runs, and what one more may take, kB."""

STEPS = 300
"""Optimiser steps of each run."""

SIDE = 64


def many(root: Path, count: int) -> Project:
    """A prepared project of `count` tiny pictures, no two alike, so that each has its features."""
    save_tiny(root / "base", words=parse_config({}).task.labels, side=SIDE)
    settings: Row = {"base": {"model": "base"}, "device": {"side": SIDE}}
    settings["train"] = {"epochs": 1 + STEPS * 16 // count}
    project = Project.of(parse_config(settings), root)
    write_json(root / "pocketvlm.yaml", settings)
    (project.workspace.dataset / "images").mkdir(parents=True)
    write_rows(project.workspace.split("train"), drawn(project, count))
    write_rows(project.workspace.split("val"), [])
    project.record_contract(project.workspace.dataset)
    return project


def drawn(project: Project, count: int) -> Iterator[Row]:
    """Lines of the data set; a picture is black but for its number, in bits."""
    labels = project.contract.labels
    for number in track(range(count), f"Drawing {count:,} pictures", count):
        pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
        pixels[0, :32, 0] = [255 * (number >> bit & 1) for bit in range(32)]
        image = f"images/{number}.png"
        Image.fromarray(pixels).save(project.workspace.dataset / image, compress_level=1)
        yield {"id": f"{number:064x}", "image": image, "label": labels[number % len(labels)]}


def trained(count: int) -> Measured:
    """Look at `count` pictures and take some steps, in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        many(Path(name), count)
        return run("clock.py", str(STEPS), "train", "-c", f"{name}/pocketvlm.yaml", "--json")


def flat(count: int) -> bool:
    """Print the memory of both runs; whether it stays flat."""
    runs = {FEW: trained(FEW), count: trained(count)}
    for pictures, found in runs.items():
        print(
            f"{pictures:8,} pictures, {len(found.steps)} steps: {found.anonymous / 1e6:.0f} MB at "
            f"a step's end, {found.peak / 1e6:.0f} MB at most with files in memory"
        )
    few, most = runs[FEW], runs[count]
    more = max(most.anonymous - few.anonymous, most.peak - few.peak)
    each = more / 1000 / (count - FEW)
    word = "met" if each <= KILOBYTE else "MISSED"
    print(f"{each:.2f} kB a picture more, target <= {KILOBYTE:.0f}: {word}")
    return each <= KILOBYTE
