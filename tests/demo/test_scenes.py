"""Scenes: reproducible, of every element, neutrally named, and no colour lookup."""

import hashlib
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pocketvlm.demo.scenes import ELEMENTS, MOTIFS, draw, paint, write_scenes


def _colour_figures(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean and standard deviation of the channels in RGB and in HSV."""
    both = np.concatenate([rgb, cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)], axis=2).reshape(-1, 6)
    return np.concatenate([both.mean(axis=0), both.std(axis=0)])


def _accuracies(train: int, test: int, side: int) -> list[float]:
    rng = np.random.default_rng(8)
    labels = [ELEMENTS[i % len(ELEMENTS)] for i in range(train + test)]
    figures = np.array([_colour_figures(draw(label, rng, side)) for label in labels])
    models = (
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
        RandomForestClassifier(200, random_state=0),
    )
    return [
        float(model.fit(figures[:train], labels[:train]).score(figures[train:], labels[train:]))
        for model in models
    ]


def test_colour_does_not_tell_the_element() -> None:
    assert max(_accuracies(400, 200, 128)) < 0.75


@pytest.mark.slow
def test_colour_does_not_tell_the_element_to_many_pictures() -> None:
    assert max(_accuracies(1500, 500, 256)) < 0.75


@pytest.mark.parametrize("label", ELEMENTS)
def test_every_motif_draws_in_every_shape(label: str) -> None:
    rng = np.random.default_rng(0)
    for motif in MOTIFS[label]:
        for aspect, shape in ((0.75, (160, 120, 3)), (1.0, (160, 160, 3)), (1.6, (100, 160, 3))):
            rgb = paint(rng, label, motif, 160, aspect)
            assert rgb.shape == shape
            assert rgb.dtype == np.uint8
            assert rgb.std() > 3


def test_the_same_seed_writes_the_same_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_scenes(tmp_path / name, tmp_path / f"{name}.jsonl", 10, seed=4)
    write_scenes(tmp_path / "c", tmp_path / "c.jsonl", 10, seed=5)
    a, b, c = ((tmp_path / f"{name}.jsonl").read_text() for name in "abc")
    assert a == b
    assert a != c


def test_truth_is_balanced_and_lies_apart(tmp_path: Path) -> None:
    write_scenes(tmp_path / "pictures", tmp_path / "truth.jsonl", 15, seed=1)
    rows = [json.loads(line) for line in (tmp_path / "truth.jsonl").read_text().splitlines()]
    files = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert sorted(row["file"] for row in rows) == files
    assert sorted(row["label"] for row in rows) == sorted(ELEMENTS * 3)
    for row in rows:
        data = (tmp_path / "pictures" / row["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        assert re.fullmatch(r"scene-\d{5}\.jpg", row["file"])
        assert not any(label.encode() in data.lower() for label in ("water", "metal", "wood"))


def test_the_order_of_names_says_nothing(tmp_path: Path) -> None:
    write_scenes(tmp_path / "pictures", tmp_path / "truth.jsonl", 50, seed=2)
    rows = [json.loads(line) for line in (tmp_path / "truth.jsonl").read_text().splitlines()]
    labels = [row["label"] for row in rows]
    repeats = sum(a == b for a, b in zip(labels, labels[5:], strict=False))
    assert repeats < 25


def test_truth_among_the_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep the truth elsewhere"):
        write_scenes(tmp_path / "p", tmp_path / "p" / "truth.jsonl", 5, seed=1)
