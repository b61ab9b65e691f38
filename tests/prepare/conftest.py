"""Workspaces with labelled pictures, and a base that is only a byte-level tokenizer."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from pocketvlm.config import parse_config
from pocketvlm.contract import END, IMAGE
from pocketvlm.label.ledger import append
from pocketvlm.label.plan import question_key
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_rows, sha256_file, write_rows

LABELS = ("water", "land", "fire", "wood", "metal")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    letters = {letter: at for at, letter in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = Tokenizer(BPE(vocab=letters, merges=[]))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens([IMAGE, END])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def picture(path: Path, seed: int) -> Path:
    """Write a small picture with some colour and structure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (20 + seed % 30, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def configured(root: Path, base: Path, **sections: Any) -> Project:
    """A project with a small bitmap."""
    small = {"base": {"model": str(base)}, "device": {"side": 64}}
    return Project.of(parse_config(small | sections), root)


def collected(project: Project, count: int) -> list[Row]:
    """Put `count` pictures into originals/."""
    rows = []
    for number in range(count):
        path = picture(project.workspace.originals / f"{number}.png", number)
        rows.append({"sha256": sha256_file(path), "file": path.name, "origin": f"my {number}.png"})
    write_rows(project.workspace.index, rows)
    return rows


def answered(project: Project, row: Row, **fields: Any) -> None:
    """Write an answer of the teacher into the ledger."""
    key = question_key(project.config, 0, row["sha256"])
    good = {"status": "ok", "label": "water", "confidence": 0.9, "reason": "It is wet."}
    append(project.workspace.answers, [{"kind": "answer", "key": key} | good | fields])


def lines(project: Project, name: str) -> list[Row]:
    """The dataset lines of one split."""
    return list(read_rows(project.workspace.split(name)))


def everything(project: Project) -> dict[str, tuple[str, str]]:
    """Split and label of each picture, by its id."""
    names = ("train", "val", "test")
    return {row["id"]: (name, row["label"]) for name in names for row in lines(project, name)}


def custom(path: Path, rows: list[Row]) -> Path:
    """Write a list of labelled pictures, JSON or JSONL by the name's ending."""
    text = "\n".join(map(json.dumps, rows)) if path.suffix == ".jsonl" else json.dumps(rows)
    path.write_text(text, encoding="utf-8")
    return path
