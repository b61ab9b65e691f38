"""The prompt's token layout and the answers: what the student reads and says."""

from collections.abc import Sequence

import pytest

from pocketvlm.config import parse_config
from pocketvlm.contract import Contract
from pocketvlm.errors import ConfigError


def letters(text: str) -> list[int]:
    """A tokenizer with one token a character."""
    return [ord(letter) for letter in text]


def contract(
    labels: Sequence[str] = ("water", "fire"),
    prompt: str = "{marker}\n{question}\n\nElement:",
    question: str = "What?",
    tokens: int = 32,
) -> Contract:
    """A task of these labels."""
    task = {"question": question, "labels": dict.fromkeys(labels, "x")}
    device = {"prompt": prompt, "max_new_tokens": tokens}
    return Contract.of(parse_config({"task": task, "device": device}))


def test_a_question_that_ends_the_prompt_in_white_space_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"task\.question: .*white space"):
        contract(prompt="{marker}{question}", question="What? ")


def test_the_runtimes_own_image_token_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"holds <image>.*remove it"):
        contract(question="What is <image>?")
    with pytest.raises(ConfigError, match=r"holds <image>.*remove it"):
        contract(prompt="<image>{marker}{question}")


@pytest.mark.parametrize("text", ["water", " water", "water\n", "\t water  "])
def test_a_stripped_label_is_right(text: str) -> None:
    assert contract().label_of(text) == "water"


@pytest.mark.parametrize("text", ["", "Water", "water.", "water fire", "the water", "waters"])
def test_all_else_is_no_label(text: str) -> None:
    assert contract().label_of(text) is None


def test_the_answer_is_a_space_the_label_and_the_end_token() -> None:
    assert contract().answer("fire") == " fire<end_of_utterance>"


def test_labels_that_can_be_told_apart_pass() -> None:
    contract(("water", "wood", "fire")).check_answers(letters)


@pytest.mark.parametrize("labels", [("fire", "fireplace"), ("fireplace", "fire")])
def test_a_label_that_begins_another_is_refused(labels: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match="'fireplace' begin with those of 'fire'"):
        contract(labels).check_answers(letters)


def test_labels_of_equal_tokens_are_refused() -> None:
    with pytest.raises(ConfigError, match="rename one"):
        contract(("water", "WATER")).check_answers(lambda text: letters(text.lower()))


def test_an_answer_that_melts_into_the_prompt_is_refused() -> None:
    def merging(text: str) -> list[int]:
        return letters(text.replace(": w", "W"))

    with pytest.raises(ConfigError, match="'water' is tokenised otherwise"):
        contract().check_answers(merging)


def test_an_answer_that_the_app_would_cut_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'water' needs 7 tokens .* stops after 6"):
        contract(tokens=6).check_answers(letters)
    contract(tokens=7).check_answers(letters)
