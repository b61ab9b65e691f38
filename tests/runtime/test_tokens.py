"""Text to tokens and back, and the layout round a picture."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pocketvlm.config import parse_config
from pocketvlm.contract import END, FAKE, GRID_TILE, IMAGE, OVERVIEW, Contract
from pocketvlm.errors import PocketError
from pocketvlm.pictures import Bitmap
from pocketvlm.runtime import Runtime
from pocketvlm.sections import MARKER
from pocketvlm.student.student import Student

SIDE = 128

sentences = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=80)


def test_a_double_line_break_is_one_token(runtime: Runtime) -> None:
    assert len(runtime.tokens("\n\n")) == 1


def test_special_tokens_are_parsed_and_none_is_added(runtime: Runtime, student: Student) -> None:
    assert runtime.tokens("") == []
    assert runtime.tokens(IMAGE) == [runtime.image_id]
    assert runtime.tokens(f"a{END}") == student.encode(f"a{END}")


@given(sentences)
@example("Grüße, 東京 \U0001f30a 12\n\n")
def test_text_survives_the_way_there_and_back(runtime: Runtime, text: str) -> None:
    assert runtime.text(runtime.tokens(text)) == text


def test_half_a_character_is_replaced(runtime: Runtime) -> None:
    first, second = runtime.tokens("é")
    assert runtime.text([first]) == "\ufffd"
    assert runtime.text([first, second]) == "é"


@given(sentences.filter(lambda text: text == text.rstrip()))
@example("3 dogs,\n\n33 cats\n")
@example(f"{FAKE}?")
@pytest.mark.parametrize(
    "prompt", ["{marker}\n{question}\n\nElement:", "Look: {marker}{question}!"]
)
def test_the_runtime_lays_every_prompt_out_as_the_contract(
    runtime: Runtime, student: Student, prompt: str, question: str
) -> None:
    contract = Contract.of(
        parse_config({"device": {"side": SIDE, "prompt": prompt}, "task": {"question": question}})
    )
    before, after = contract.prompt.split(MARKER)
    tile = [runtime.image_id] * 4
    expected = student.encode(f"{before}{FAKE}{GRID_TILE}") + tile
    expected += student.encode(f"\n\n{FAKE}{OVERVIEW}") + tile + student.encode(FAKE + after)
    assert runtime.ids(contract.prompt, np.zeros((SIDE, SIDE, 3), np.uint8)) == expected


@pytest.mark.parametrize("prompt", ["What is it?", "<__media__> or <__media__>?"])
def test_a_prompt_takes_exactly_one_picture(
    runtime: Runtime, pictures: list[Bitmap], prompt: str
) -> None:
    with pytest.raises(PocketError, match=r"no layout for the prompt .*media markers"):
        runtime.ids(prompt, pictures[0])
