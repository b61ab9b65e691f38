"""The token layout as the app's developer reads it."""

import pytest

from pocketvlm.base import encoder, load_tokenizer
from pocketvlm.bundle.layout import device_contract
from pocketvlm.contract import END, IMAGE
from pocketvlm.layout import runs
from pocketvlm.project import Project
from pocketvlm.runtime import Runtime, ask_layout
from pocketvlm.workspace import Row


@pytest.fixture(scope="module")
def contract(converted: Project) -> Row:
    """What the shipped files say."""
    space = converted.workspace
    with Runtime(space.text_gguf("Q8_0"), space.vision_gguf("Q8_0")) as runtime:
        return device_contract(converted.contract, runtime)


def test_the_runtimes_layout_is_the_one_the_student_trained_on(
    converted: Project, contract: Row
) -> None:
    encode = encoder(load_tokenizer(converted.workspace.merged))
    image = encode(IMAGE)[0]
    trained = ask_layout(converted.workspace.merged, converted.contract)
    assert contract["layout"] == runs(trained.ids, image)
    assert contract["image_token_id"] == image
    assert (contract["tile_count"], contract["tile_tokens"]) == (2, 1)


def test_answers_end_with_the_end_token(converted: Project, contract: Row) -> None:
    encode = encoder(load_tokenizer(converted.workspace.merged))
    assert contract["end_token_id"] == encode(END)[0]
    assert contract["answers"] == {
        label: encode(f" {label}{END}") for label in ("water", "fire|heat")
    }
