"""Every label equally often, in an order that a resumed training meets again."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import TrainerState

from pocketvlm.project import Project
from pocketvlm.student import train
from pocketvlm.student.balance import Balanced
from pocketvlm.student.history import Reporter
from pocketvlm.workspace import Row, read_json, read_rows, write_rows
from tests.student.conftest import make_project

LABELS = st.lists(st.sampled_from("aaaaaaabbc"), min_size=1, max_size=80)


@given(LABELS, st.integers(0, 99), st.integers(0, 9))
def test_labels_are_equally_frequent(labels: list[str], seed: int, epoch: int) -> None:
    sampler = Balanced(labels, seed)
    sampler.set_epoch(epoch)
    shown = list(sampler)
    assert len(shown) == len(labels) == len(sampler)
    counts = Counter(labels[at] for at in shown)
    assert set(counts) == set(labels)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert list(sampler) == shown


@given(LABELS, st.integers(0, 9))
def test_no_picture_comes_again_before_all_of_its_label(labels: list[str], epoch: int) -> None:
    sampler = Balanced(labels, 0)
    sampler.set_epoch(epoch)
    times = Counter(sampler)
    for label in set(labels):
        of = [times[at] for at, other in enumerate(labels) if other == label]
        assert max(of) - min(of) <= 1


def test_epochs_differ() -> None:
    sampler = Balanced(["a"] * 50 + ["b"] * 5, 0)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first


def lopsided(root: Path, base: Path) -> Project:
    """Six of seven pictures are of one label."""
    project = make_project(root, base, epochs=4, patience=9, balanced=True)
    rows = list(read_rows(project.workspace.split("train")))
    often, rare = (rows[start::2] for start in (0, 1))
    write_rows(project.workspace.split("train"), [*often, *rare[: len(often) // 6]])
    return project


def history(project: Project) -> Row:
    """Train, or go on."""
    train(project)
    found: Row = read_json(project.workspace.adapter / "history.json")
    return found


def test_an_interrupted_training_meets_the_same_order(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = lopsided(tmp_path / "cut", tiny_base)
    evaluated = Reporter.on_evaluate

    def interrupted(
        self: Reporter, args: Any, state: TrainerState, *rest: Any, **more: Any
    ) -> None:
        evaluated(self, args, state, *rest, **more)
        if state.epoch == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Reporter, "on_evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(project)
    resumed = history(project)
    whole = history(lopsided(tmp_path / "whole", tiny_base))
    assert resumed["train"] == whole["train"]
    assert resumed["val"] == whole["val"]
