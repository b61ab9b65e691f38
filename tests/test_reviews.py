"""A person's decisions: the last one on a picture counts."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketvlm.reviews import VERBS, Review, Verb, latest, read_review, read_reviews, review_row
from pocketvlm.workspace import append_row

REVIEWS = st.builds(
    Review, st.sampled_from("abc"), st.sampled_from(VERBS), st.sampled_from(["fire", "wood"])
)


@given(st.lists(REVIEWS))
def test_the_last_one_counts_and_undo_is_none(reviews: list[Review]) -> None:
    found = latest(reviews)
    for picture in "abc":
        of = [one for one in reviews if one.picture == picture]
        undone = not of or of[-1].decision == "undo"
        assert found.get(picture) == (None if undone else of[-1])


@given(REVIEWS)
def test_a_line_is_read_as_it_was_written(review: Review) -> None:
    line = json.dumps(review_row(review, "2026-01-01T00:00:00+00:00")).encode()
    assert read_review(line) == review


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b'"accept"',
        b'{"picture": "a", "decision": "maybe"}',
        b'{"picture": 7, "decision": "accept"}',
        b'{"picture": "a", "decision": "relabel"}',
        b'{"picture": "a", "decision": "relabel", "label": ""}',
        b'{"picture": "a", "decision": "accept", "label": 3}',
        b'{"picture": "a", "decision": ["accept"]}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_what_is_no_review_is_none(line: bytes) -> None:
    assert read_review(line) is None


@pytest.mark.parametrize("verb", ["accept", "reject"])
def test_a_label_may_be_missing(verb: Verb) -> None:
    line = json.dumps({"picture": "a", "decision": verb}).encode()
    assert read_review(line) == Review("a", verb, None)


def test_lines_that_are_none_are_named_and_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "reviews.jsonl"
    assert read_reviews(path) == {}
    append_row(path, {"picture": "a", "decision": "reject"})
    with path.open("ab") as file:
        file.write(b"half a li")
    append_row(path, {"picture": "b", "decision": "accept", "label": "fire"})
    found = read_reviews(path)
    assert found == {"a": Review("a", "reject", None), "b": Review("b", "accept", "fire")}
    assert "half a li" in capsys.readouterr().err
