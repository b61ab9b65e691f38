"""A picture more takes a few hundred bytes, however long its answer and large its bitmap."""

import tracemalloc
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path

import pytest

from pocketvlm.label import answers_of
from pocketvlm.label.plan import question_key
from pocketvlm.label.prompt import prompt_hash
from pocketvlm.prepare.bitmaps import write_bitmaps
from pocketvlm.project import Project
from pocketvlm.workspace import Row, sha256_json, write_rows

from .conftest import LABELS, configured, picture

FEW, MANY = 200, 2_200
REASON = "It is wet. " * 400
"""4 kB that nobody has to hold."""

MOST = 1_000
"""Bytes a picture: hash, decision, and where the ledger holds its answer."""


def labelled(root: Path, base: Path, count: int) -> Project:
    """A project of that many pictures with answers; the files themselves are not there."""
    project = configured(root, base)
    rows = [{"sha256": sha256_json(number), "file": f"{number}.png"} for number in range(count)]
    sized = {"width": 4, "height": 4, "licence": "CC0-1.0", "origin": "pictures/a.png"}
    write_rows(project.workspace.index, (row | sized for row in rows))
    write_rows(project.workspace.answers, answers(project, rows))
    return project


def answers(project: Project, rows: list[Row]) -> Iterator[Row]:
    """One a picture, of a hundred confidences."""
    prompt = prompt_hash(project.config.task)
    for number, row in enumerate(rows):
        key = question_key(project.config, 0, row["sha256"], prompt)
        answer: Row = {"kind": "answer", "key": key, "picture": row["sha256"], "status": "ok"}
        answer |= {"label": LABELS[number % 5], "confidence": number % 100 / 100}
        yield answer | {"reason": f"{number} {REASON}"}


def peak(work: Callable[[], object]) -> int:
    """The most bytes that Python held for some work."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_answers_are_streamed(tmp_path: Path, base: Path) -> None:
    def read(count: int) -> int:
        project = labelled(tmp_path / str(count), base, count)
        return peak(lambda: sum(len(answer["reason"]) for _, answer in answers_of(project)))

    read(FEW)  # what is loaded once
    assert read(MANY) - read(FEW) < MOST * (MANY - FEW)


@pytest.mark.slow
def test_bitmaps_are_streamed(tmp_path: Path, base: Path) -> None:
    """Of 12 kB each; what is yielded is dropped here, as `prepare` drops it."""
    project, source = configured(tmp_path / "project", base), picture(tmp_path / "a.png", 1)

    def write(count: int) -> int:
        folder = tmp_path / f"{count}"
        (folder / "images").mkdir(parents=True)
        items = ((f"{count}-{at}", path) for at, path in enumerate(repeat(source, count)))
        return peak(lambda: all(made.sha256 for made in write_bitmaps(items, folder, project)))

    write(20)
    assert write(1_200) - write(FEW) < 200_000
