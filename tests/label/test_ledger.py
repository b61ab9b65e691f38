"""The ledger survives a kill at any byte, and names a question by what could change its answer."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketvlm.config import Config, parse_config
from pocketvlm.label.ledger import Ledger, question_key

ROWS = [
    {"kind": "answer", "key": f"{number}", "status": "ok", "label": "grün", "raw": "🔥\n"}
    for number in range(4)
]
LINES = [json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in ROWS]


@given(cut=st.integers(0, sum(map(len, LINES))), rubbish=st.binary(max_size=6))
def test_torn_at_any_byte(
    tmp_path_factory: pytest.TempPathFactory, cut: int, rubbish: bytes
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "answers.jsonl"
    path.write_bytes(b"".join(LINES)[:cut] + rubbish.replace(b"}", b"").replace(b"\n", b""))
    whole = sum(1 for number in range(4) if sum(map(len, LINES[: number + 1])) <= cut)
    ledger = Ledger(path)
    assert set(ledger.answers) >= {str(number) for number in range(whole)}
    ledger.record({"kind": "answer", "key": "new", "status": "ok", "raw": "x"})
    again = Ledger(path)
    assert set(again.answers) == set(ledger.answers)
    assert again.answered("new")


@pytest.mark.parametrize(
    ("status", "final"),
    [
        ("ok", True),
        ("none", True),
        ("refused", True),
        ("rejected", True),
        ("malformed", False),
        ("failed", False),
    ],
)
def test_which_answers_are_final(tmp_path: Path, status: str, final: bool) -> None:
    ledger = Ledger(tmp_path / "answers.jsonl")
    ledger.record({"kind": "answer", "key": "a", "status": status})
    assert ledger.answered("a") is final
    assert Ledger(ledger.path).answered("a") is final


def test_an_intent_alone_is_no_answer(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "labels" / "answers.jsonl")
    ledger.intend("a", "ff00", Config())
    (row,) = [json.loads(line) for line in ledger.path.read_text().splitlines()]
    assert list(row) == ["kind", "key", "picture", "model", "prompt", "at", "reserved_usd"]
    assert row["reserved_usd"] is None
    assert not Ledger(ledger.path).answered("a")


def test_the_last_answer_counts(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "answers.jsonl")
    for status in ("failed", "ok"):
        ledger.record({"kind": "answer", "key": "a", "status": status})
    assert Ledger(ledger.path).answers["a"]["status"] == "ok"


def test_half_an_emoji_can_be_written_down(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "answers.jsonl")
    ledger.record({"kind": "answer", "key": "a", "status": "ok", "reason": "\ud83d"})
    assert Ledger(ledger.path).answers["a"]["reason"] == "\ud83d"


@pytest.mark.parametrize(
    "changed",
    [
        {"teacher": {"model": "another"}},
        {"teacher": {"temperature": 0.5}},
        {"teacher": {"max_side": 512}},
        {"task": {"question": "Which is it?", "labels": {"water": "only seas", "fire": "flames"}}},
    ],
)
def test_what_makes_another_question(changed: dict[str, object]) -> None:
    assert question_key(parse_config(changed), "ff00") != question_key(Config(), "ff00")


@pytest.mark.parametrize(
    "changed",
    [
        {"base_url": "http://elsewhere/v1"},
        {"concurrency": 2},
        {"retries": 1},
        {"timeout": 5},
        {"api_key_env": "MINE"},
        {"max_tokens": 2000},
    ],
)
def test_what_does_not(changed: dict[str, object]) -> None:
    assert question_key(parse_config({"teacher": changed}), "ff00") == question_key(
        Config(), "ff00"
    )
