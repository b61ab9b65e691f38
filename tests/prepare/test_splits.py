"""The split depends on the picture alone."""

import hashlib
from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pocketvlm.prepare import prepare
from pocketvlm.prepare.balance import notes
from pocketvlm.prepare.splits import split_of

from .conftest import LABELS, answered, collected, configured, everything

IDS = st.binary(min_size=32, max_size=32).map(bytes.hex)


@given(IDS)
def test_every_picture_has_one_split(picture: str) -> None:
    assert split_of(picture) in ("train", "val", "test")
    assert split_of(picture) == split_of(picture[:8] + "0" * 56)


def test_eighty_ten_ten() -> None:
    ids = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(20_000)]
    counts = Counter(map(split_of, ids))
    assert abs(counts["train"] - 16_000) < 300
    assert abs(counts["val"] - 2_000) < 200
    assert abs(counts["test"] - 2_000) < 200


def test_the_edges_belong_to_one_side() -> None:
    places = {"00000000": "train", "cccccccc": "train", "cccccccd": "val", "ffffffff": "test"}
    assert {start: split_of(start + "0" * 56) for start in places} == places


def test_relabelling_and_adding_move_nothing(tmp_path: Path, base: Path) -> None:
    project = configured(tmp_path, base)
    rows = collected(project, 30)
    for row in rows[:20]:
        answered(project, row, label="water")
    prepare(project)
    before = everything(project)
    for row in reversed(rows):
        answered(project, row, label="fire")
    prepare(project)
    after = everything(project)
    assert len(before) == 20
    assert len(after) == 30
    assert {label for _, label in after.values()} == {"fire"}
    assert all(after[picture][0] == split for picture, (split, _) in before.items())


@given(
    st.dictionaries(
        st.sampled_from(["train", "val", "test"]),
        st.dictionaries(st.sampled_from(LABELS), st.integers(1, 30)),
    )
)
def test_what_the_splits_cannot_hold_is_said(some: dict[str, dict[str, int]]) -> None:
    counts = {name: some.get(name, {}) for name in ("train", "val", "test")}
    said = "\n".join(notes(counts, LABELS))
    for name, inside in counts.items():
        assert (f"{name} is empty" in said) == (not inside)
    for label in LABELS:
        have = counts["train"].get(label, 0)
        assert (f"only {have} of '{label}'" in said) == (have < 10)
