"""The token layout as the app's developer reads it."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketvlm.base import encoder, load_tokenizer
from pocketvlm.bundle.layout import device_contract, runs
from pocketvlm.contract import END, IMAGE
from pocketvlm.project import Project
from pocketvlm.runtime import Runtime
from pocketvlm.workspace import Row

PICTURE = 7


@given(st.lists(st.integers(0, 9)))
def test_runs_can_be_read_back(ids: list[int]) -> None:
    back: list[int] = []
    for run in runs(ids, PICTURE):
        back += [PICTURE] * run["picture"] if "picture" in run else run["text"]
    assert back == ids


@given(st.lists(st.sampled_from([1, PICTURE])))
def test_runs_alternate(ids: list[int]) -> None:
    kinds = ["picture" in run for run in runs(ids, PICTURE)]
    assert all(first != second for first, second in pairwise(kinds))


@pytest.fixture(scope="module")
def contract(converted: Project) -> Row:
    """What the shipped files say."""
    space, side = converted.workspace, converted.contract.side
    with Runtime(space.text_gguf("Q8_0"), space.vision_gguf("Q8_0")) as runtime:
        return device_contract(converted.contract, runtime, np.zeros((side, side, 3), np.uint8))


def test_the_runtimes_layout_is_the_one_the_student_trained_on(
    converted: Project, contract: Row
) -> None:
    encode = encoder(load_tokenizer(converted.workspace.merged))
    image = encode(IMAGE)[0]
    trained = converted.contract.layout(encode, image, contract["tile_tokens"])
    assert contract["layout"] == runs(trained, image)
    assert contract["image_token_id"] == image


def test_answers_end_with_the_end_token(converted: Project, contract: Row) -> None:
    encode = encoder(load_tokenizer(converted.workspace.merged))
    assert contract["end_token_id"] == encode(END)[0]
    assert contract["answers"] == {
        label: encode(f" {label}{END}") for label in ("water", "fire|heat")
    }
