"""Answers are read out of whatever teachers wrap them in, or found malformed."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketvlm.label.answer import Malformed, parse_answer

from .server import GOOD

TEXT = json.dumps(GOOD)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"```json\n{TEXT}\n```",
        f"Sure! Here is what I see {{in short}}:\n{TEXT}\nHope that helps.",
        json.dumps({"answer": GOOD}),
        f'<think>Perhaps {{"label": "fire", "confidence": 0.2}}? No.</think>{TEXT}',
    ],
    ids=["plain", "fence", "prose", "wrapped", "thinking"],
)
def test_the_object_is_found(text: str) -> None:
    answer = parse_answer(text)
    assert (answer.label, answer.confidence, answer.reason) == ("water", 0.9, GOOD["reason"])


def test_small_liberties_are_taken_as_meant() -> None:
    given_ = GOOD | {"label": " Water. ", "colours": "blue", "texture": None, "confidence": "0.8"}
    answer = parse_answer(json.dumps(given_ | {"visual_features": None}))
    assert (answer.label, answer.colours, answer.texture) == ("water", ["blue"], "")
    assert (answer.confidence, answer.visual_features) == (0.8, [])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty answer"),
        ("It is water.", "no JSON object"),
        (TEXT[:-9], "no JSON object"),
        (json.dumps(GOOD | {"confidence": 90}), "confidence"),
        (json.dumps(GOOD | {"confidence": None}), "confidence"),
        (TEXT.replace("0.9", "NaN"), "confidence"),
        (json.dumps(GOOD | {"label": None}), "label"),
        ('{"a":' * 2_000, "no JSON object"),
    ],
)
def test_what_is_wrong_is_said(text: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        parse_answer(text)


def test_status_tells_fitting_none_and_unknown_labels_apart() -> None:
    def status(label: str) -> str:
        return parse_answer(json.dumps(GOOD | {"label": label})).status({"water", "fire"})

    assert [status("FIRE"), status("none"), status("aether")] == ["ok", "none", "rejected"]


@given(
    st.text() | st.text(alphabet='{}[]":,label0.9confidence ') | st.just(TEXT).map(lambda t: t * 2)
)
def test_no_text_does_worse_than_malformed(text: str) -> None:
    with suppress(Malformed):
        assert 0 <= parse_answer(text).confidence <= 1
