"""A layout as it is recorded: runs of token ids and picture slots."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketvlm.errors import PocketError
from pocketvlm.layout import Layout, runs

PICTURE = 7

RUNTIME = {"package": "llama-cpp-python 0", "version": "0", "behaviour": "0"}


def layout(ids: list[int]) -> Layout:
    return Layout(tuple(ids), PICTURE, "words", RUNTIME)


@given(st.lists(st.integers(0, 9)))
def test_a_record_reads_back_as_it_was(ids: list[int]) -> None:
    assert Layout.read(layout(ids).record()) == layout(ids)


@given(st.lists(st.sampled_from([1, PICTURE])))
def test_runs_alternate(ids: list[int]) -> None:
    kinds = ["picture" in run for run in runs(ids, PICTURE)]
    assert all(first != second for first, second in pairwise(kinds))


def test_tiles_are_the_runs_of_picture_slots() -> None:
    assert layout([1, 7, 7, 2, 7, 7, 3]).tiles == (2, 2)
    assert layout([1, 2]).tiles == ()


@pytest.mark.parametrize(
    "record", [{}, {"image_token_id": 7}, {"image_token_id": 7, "layout": [{"picture": None}]}]
)
def test_a_record_without_a_layout_says_what_to_run(record: dict[str, object]) -> None:
    with pytest.raises(PocketError, match=r"no token layout.*--from train"):
        Layout.read(record)
