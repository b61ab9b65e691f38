"""How many pictures of each label there are: on the terminal, in the card and as a plot."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketvlm.prepare import prepare
from pocketvlm.prepare.balance import LOPSIDED, lopsided, table

from .conftest import LABELS, answered, collected, configured


@given(st.dictionaries(st.sampled_from(LABELS), st.integers(1, 10**6)))
def test_every_label_has_a_line_and_no_bar_is_too_long(train: dict[str, int]) -> None:
    head, *rows = table({"train": train, "val": {}, "test": {"fire": 3}}, LABELS)
    assert head.split() == ["train", "val", "test"]
    assert [row.split()[0] for row in rows] == list(LABELS)
    for row in rows:
        label, count, val, test, *bar = row.split()
        assert count == f"{train.get(label, 0):,}"
        assert (val, test) == ("0", "3" if label == "fire" else "0")
        assert len("".join(bar)) <= 24
        if train and train.get(label) == max(train.values()):
            assert len(bar[0]) == 24


@given(st.dictionaries(st.sampled_from(LABELS), st.integers(1, 1000), min_size=5))
def test_labels_that_lie_far_apart_are_named(train: dict[str, int]) -> None:
    low, high = min(train.values()), max(train.values())
    said = lopsided(train, LABELS)
    assert bool(said) == (high >= LOPSIDED * low)
    if said:
        assert f"{high:,} of" in said[0]
        assert "train.balanced" in said[0]


def test_prepare_prints_and_plots_it(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = configured(tmp_path, base)
    for at, row in enumerate(collected(project, 40)):
        answered(project, row, label="fire" if at % 8 else "wood")
    counts = prepare(project)["counts"]
    said = capsys.readouterr().err
    assert f"fire  {counts['train']['fire']:>8}" in said
    assert "fetches more of what is rare" in said
    drawing = (project.workspace.dataset / "balance.svg").read_text(encoding="utf-8")
    words = "".join(ElementTree.fromstring(drawing).itertext())
    assert "currentColor" not in drawing
    assert all(word in words for word in ("fire", "wood", "train", "val", "test"))
    assert "](balance.svg)" in (project.workspace.dataset / "README.md").read_text(encoding="utf-8")
