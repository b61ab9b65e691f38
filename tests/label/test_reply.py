"""What comes back in place of a chat completion is a malformed answer, not a crash."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketvlm.label.reply import read_reply

from .server import GOOD, answer, says

LABELS = ("Water", "land")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>Welcome</html>",
        '{"choices": [{"mess',
        "null",
        "[]",
        "{}",
        '{"choices": null}',
        '{"choices": []}',
        '{"choices": [{}]}',
        '{"choices": [{"message": null}]}',
        '{"choices": [{"message": {"content": 5}}]}',
        '{"error": null}',
    ],
)
def test_no_chat_completion(body: str) -> None:
    row = read_reply(body, LABELS)
    assert row["status"] == "malformed"
    assert row["raw"] == body
    assert "base_url" in row["error"]


@pytest.mark.parametrize(
    "error", [{"message": "all are\nbusy", "code": 502}, "all are busy", {"all": "are busy"}]
)
def test_an_error_with_status_200_is_told(error: object) -> None:
    row = read_reply(json.dumps({"error": error}), LABELS)
    assert row["status"] == "malformed"
    assert "the server answers with an error: " in row["error"] and "busy" in row["error"]


def test_liberties_around_a_good_answer_do_not_lose_it() -> None:
    """Parts in place of text, and fields of other types."""
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": json.dumps(GOOD)}, 7]
    message = {"content": parts, "refusal": False, "tool_calls": 7}
    body = {"choices": [{"message": message, "finish_reason": 7, "index": "x"}], "usage": ["x"]}
    row = read_reply(json.dumps(body), LABELS)
    assert (row["status"], row["label"], row["tokens_in"]) == ("ok", "Water", None)


def test_of_a_huge_answer_only_so_much_is_kept() -> None:
    row = read_reply(says("x" * 1_000_000).body, LABELS)
    assert (row["status"], len(row["raw"])) == ("malformed", 100_000)


def test_a_good_answer_gives_every_field() -> None:
    row = read_reply(answer().body, LABELS)
    assert row == GOOD | {
        "status": "ok",
        "label": "Water",
        "raw": json.dumps(GOOD),
        "tokens_in": 100,
        "tokens_out": 20,
        "usd": None,
    }


@pytest.mark.parametrize(("label", "said"), [("U.S.", "u.s."), ("e.g", "E.G."), ("Ä", "ä")])
def test_dots_and_case_of_a_label_do_not_matter(label: str, said: str) -> None:
    row = read_reply(answer(label=said).body, (label, "land"))
    assert (row["status"], row["label"]) == ("ok", label)


def test_usage_may_be_missing() -> None:
    body = json.dumps({"choices": [{"message": {"content": json.dumps(GOOD)}}]})
    row = read_reply(body, LABELS)
    assert (row["status"], row["tokens_in"], row["tokens_out"]) == ("ok", None, None)


def test_refusals_are_told_apart_from_nonsense() -> None:
    assert read_reply(says(None, refusal="I cannot.").body, LABELS)["raw"] == "I cannot."
    assert read_reply(says(None, refusal="I cannot.").body, LABELS)["status"] == "refused"
    assert read_reply(says("", finish="content_filter").body, LABELS)["status"] == "refused"
    assert read_reply(says(None).body, LABELS)["status"] == "malformed"


def test_an_answer_cut_short_names_the_setting() -> None:
    row = read_reply(says(json.dumps(GOOD)[:50], finish="length").body, LABELS)
    assert "max_tokens" in row["error"]


def test_a_label_outside_the_set_is_kept_but_rejected() -> None:
    row = read_reply(answer(label="aether").body, LABELS)
    assert (row["status"], row["label"]) == ("rejected", "aether")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["choices", "message", "content", "usage"]), inner)
        ),
    )
)
def test_no_body_is_fatal(value: object) -> None:
    assert read_reply(json.dumps(value), LABELS)["status"] == "malformed"
