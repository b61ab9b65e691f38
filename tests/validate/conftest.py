"""A project in a folder: device bitmaps with labels, and a tiny student trained on them."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pocketvlm.config import parse_config
from pocketvlm.project import Project
from pocketvlm.runtime import Asked
from pocketvlm.validate.examples import read_examples
from pocketvlm.validate.ladder import (
    ADAPTER,
    BASE,
    LIKELIHOOD,
    MERGED,
    PLAIN,
    Step,
    exported,
    gguf_step,
)
from pocketvlm.validate.report import render
from pocketvlm.validate.verdict import predictions, verdict
from pocketvlm.workspace import Row, write_rows

SIDE = 64
COLOURS = {"water": (20, 60, 230), "fire": (240, 90, 20), "wood": (90, 130, 40)}
LABELS = {label: f"a picture of {label}" for label in COLOURS}


def settings(**sections: Any) -> dict[str, Any]:
    """Three labels, small pictures, a base in the folder."""
    return {
        "task": {"question": "What is it?", "labels": LABELS},
        "device": {"side": SIDE},
        "base": {"model": "base"},
        "train": {"epochs": 1, "learning_rate": 1e-2},
    } | sections


def lines(project: Project, split: str, count: int, **changes: Any) -> list[Row]:
    """Write `count` bitmaps and the split's lines; the labels take turns."""
    folder = project.workspace.dataset
    (folder / "images").mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(split))
    rows = []
    for at in range(count):
        label = list(COLOURS)[at % len(COLOURS)]
        pixels = np.array(COLOURS[label]) + noise.integers(-20, 20, (SIDE, SIDE, 3))
        bitmap = pixels.clip(0, 255).astype(np.uint8)
        image = f"images/{split}{at}.png"
        Image.fromarray(bitmap).save(folder / image)
        row = {
            "id": hashlib.sha256(bitmap.tobytes()).hexdigest(),
            "image": image,
            "label": label,
            "confidence": 0.5 if at % 4 == 3 else 0.9,
            "reason": f"it looks like {label}",
            "source": "teacher",
            "reviewed": at % 2 == 0,
        }
        rows.append(row | changes)
    write_rows(project.workspace.split(split), rows)
    return rows


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Project]:
    """Make a project whose splits hold so many pictures; no model."""

    def project(test: int = 0, val: int = 0, train: int = 0, **sections: Any) -> Project:
        made = Project.of(parse_config(settings(**sections)), tmp_path)
        for split, count in (("train", train), ("val", val), ("test", test)):
            lines(made, split, count)
        made.record_contract(made.workspace.dataset)
        for kind in made.config.export.types:
            made.workspace.gguf.mkdir(exist_ok=True)
            made.workspace.text_gguf(kind).write_bytes(f"text {kind}".encode())
        for kind in made.config.export.mmproj:
            made.workspace.vision_gguf(kind).write_bytes(f"vision {kind}".encode())
        return made

    return project


TIMES = {"ms": 9.0, "vision": 4.0, "prompt": 3.0, "answer": 2.0, "likelihood": 8.0, "grammar": 9.5}


def ladder(project: Project, shipped: Sequence[str], **others: Sequence[str]) -> list[Step]:
    """Steps with given texts: those in torch (`base`, `likelihood`, `merged`) and in llama.cpp
    (`F16`, `Q4_0`, `small`: the smaller vision file) default to the shipped ones."""
    steps = [
        Step(name, before, list(others.get(key, shipped)), 1.5, 2.0)
        for name, before, key in (
            (BASE, None, "base"),
            (LIKELIHOOD, None, "likelihood"),
            (ADAPTER, LIKELIHOOD, "merged"),
            (MERGED, ADAPTER, "merged"),
        )
    ]
    pairs = sorted(exported(project), key=lambda pair: pair.kinds != PLAIN)
    for size, pair in zip((30.0, 16.0, 9.0, 12.0), pairs, strict=True):
        texts = list(others.get(pair.type if pair.usual else "small", shipped))
        before = gguf_step(pair.type) if not pair.usual else gguf_step(PLAIN)
        steps.append(
            Step(
                pair.name,
                MERGED if pair.kinds == PLAIN else before,
                texts,
                TIMES["ms"],
                size,
                pair,
                [asked(project, text) for text in texts],
                TIMES | {"tokens": {"prompt": 61, "answer": 2}},
                exported=True,
            )
        )
    return steps


def asked(project: Project, text: str) -> Asked:
    """A model that is quite sure of its answer; of the first label where that is none."""
    labels = project.contract.labels
    label = project.contract.label_of(text) or labels[0]
    scores = tuple(-0.1 if one == label else -3.0 for one in labels)
    return Asked(text, 2, True, scores, f" {label}")


def history() -> Row:
    """A training of two epochs."""
    epochs: list[Row] = [
        {"step": at, "epoch": float(at), "loss": 1 / at, "accuracy": at / 2, "answered": {}}
        for at in (1, 2)
    ]
    steps = [{"step": 1, "epoch": 0.5, "loss": 2.0, "rate": 1e-4}]
    return {"train": steps, "val": epochs, "best": epochs[1], "warnings": ["'fire' is rare"]}


def html(project: Project, right: int) -> str:
    """The report when the first `right` answers are right and the others say no label."""
    split, examples = read_examples(project)
    said = [
        example.truth if at < right else "a <b>picture</b>" for at, example in enumerate(examples)
    ]
    steps = ladder(project, said)
    figures = verdict(project, split, examples, steps, {}, {"package": "llama-cpp-python 0"})
    return render(project, figures, predictions(project, examples, steps, figures))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The whole way up to the GGUF files, on a tiny random base."""
    from pocketvlm.export import convert
    from pocketvlm.student import merge, train
    from pocketvlm.student.tiny import save_tiny

    root = tmp_path_factory.mktemp("trained")
    project = Project.of(parse_config(settings(gates={"accuracy": 0.0})), root)
    save_tiny(root / "base", words=LABELS, side=SIDE)
    for split, count in (("train", 18), ("val", 6), ("test", 9)):
        lines(project, split, count)
    project.record_contract(project.workspace.dataset)
    train(project)
    merge(project)
    convert(project)
    return project
