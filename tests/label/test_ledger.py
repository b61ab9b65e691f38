"""The ledger survives a kill at any byte, and names a question by what could change its answer."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketvlm.config import Config, parse_config
from pocketvlm.label.ledger import Ledger
from pocketvlm.label.plan import question_key
from pocketvlm.workspace import Row, read_rows

ROWS = [
    {"kind": "answer", "key": f"{number}", "status": "ok", "label": "grün", "raw": "🔥\n"}
    for number in range(4)
]
INTENT = {"kind": "intent", "key": "a", "call": "c1", "picture": "ff00", "reserved_usd": 0.25}
LINES = [json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in ROWS]


def write(ledger: Ledger, *rows: Row) -> None:
    """Append rows and come back when they are on the disk."""
    asyncio.run(ledger.write(*rows))


@given(cut=st.integers(0, sum(map(len, LINES))), rubbish=st.binary(max_size=6))
def test_torn_at_any_byte(
    tmp_path_factory: pytest.TempPathFactory, cut: int, rubbish: bytes
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "answers.jsonl"
    path.write_bytes(b"".join(LINES)[:cut] + rubbish.replace(b"}", b"").replace(b"\n", b""))
    whole = sum(1 for number in range(4) if sum(map(len, LINES[: number + 1])) <= cut)
    ledger = Ledger(path)
    assert set(ledger.places) >= {str(number) for number in range(whole)}
    write(ledger, {"kind": "answer", "key": "new", "status": "ok", "raw": "x"})
    again = Ledger(path)
    assert again.places == ledger.places
    assert again.answered("new")
    list(read_rows(path))  # every line is sound again


def test_a_torn_line_is_removed_and_a_whole_one_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(LINES[0] + LINES[1][:-5])
    Ledger(path)
    assert path.read_bytes() == LINES[0]
    path.write_bytes(LINES[0] + LINES[1][:-1])
    assert Ledger(path).answered("1")
    assert path.read_bytes() == LINES[0] + LINES[1]


def test_a_last_line_longer_than_a_block_is_found(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(LINES[0] + b'{"raw": "' + b"x" * 200_000)
    Ledger(path)
    assert path.read_bytes() == LINES[0]


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
    write(ledger, {"kind": "answer", "key": "a", "status": status})
    assert ledger.answered("a") is final
    assert Ledger(ledger.path).answered("a") is final


def test_an_intent_alone_is_no_answer_but_may_have_cost_money(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "labels" / "answers.jsonl")
    write(ledger, INTENT)
    again = Ledger(ledger.path)
    assert not again.answered("a")
    assert again.reserved == 0.25
    assert again.spent == 0
    write(again, {"kind": "answer", "key": "a", "call": "c1", "status": "ok", "usd": 0.1})
    assert (again.reserved, again.spent) == (0, 0.1)
    assert not again.open


def test_a_failed_call_after_an_answer_takes_nothing_away(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "answers.jsonl")
    for status, label in (("failed", None), ("ok", "water"), ("failed", None)):
        write(ledger, {"kind": "answer", "key": "a", "status": status, "label": label})
    for one in (ledger, Ledger(ledger.path)):
        assert one.status("a") == "ok"
        (row,) = one.answers(["a"])
        assert row and row["label"] == "water"


def test_answers_are_read_from_the_disk_in_the_order_asked(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "answers.jsonl")
    write(ledger, *ROWS)
    assert ledger.answers(["2", "nothing", "0"]) == [ROWS[2], None, ROWS[0]]
    assert ledger.answers([]) == []


def test_half_an_emoji_can_be_written_down(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "answers.jsonl")
    write(ledger, {"kind": "answer", "key": "a", "status": "ok", "reason": "\ud83d"})
    (row,) = Ledger(ledger.path).answers(["a"])
    assert row and row["reason"] == "\ud83d"


def test_rows_that_come_together_are_flushed_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushes: list[int] = []
    real = os.fsync

    def counted(file: int) -> None:
        flushes.append(file)
        real(file)

    monkeypatch.setattr(os, "fsync", counted)
    ledger = Ledger(tmp_path / "answers.jsonl")

    async def many() -> None:
        rows = [{"kind": "answer", "key": f"{n}", "status": "ok"} for n in range(200)]
        await asyncio.gather(*(ledger.write(row) for row in rows))

    asyncio.run(many())
    assert len(Ledger(ledger.path).places) == 200
    assert len(flushes) <= 3


def test_what_was_given_to_the_ledger_is_written_even_when_its_call_is_cancelled(
    tmp_path: Path,
) -> None:
    ledger = Ledger(tmp_path / "answers.jsonl")

    async def interrupted() -> None:
        task = asyncio.create_task(ledger.write(ROWS[0]))
        await asyncio.sleep(0)
        task.cancel()
        await ledger.settle()

    asyncio.run(interrupted())
    assert Ledger(ledger.path).answered("0")


def test_a_disk_that_takes_nothing_is_told_to_every_writer(tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("a file where the folder should be")
    ledger = Ledger(tmp_path / "labels" / "answers.jsonl")
    with pytest.raises(OSError):
        write(ledger, *ROWS)


@pytest.mark.parametrize(
    "changed",
    [
        {"teachers": [{"model": "another"}]},
        {"teachers": [{"temperature": 0.5}]},
        {"teachers": [{"max_side": 512}]},
        {"teachers": [{"reasoning_effort": "low"}]},
        {"task": {"question": "Which is it?", "labels": {"water": "only seas", "fire": "flames"}}},
    ],
)
def test_what_makes_another_question(changed: dict[str, object]) -> None:
    assert question_key(parse_config(changed), 0, "ff00") != question_key(Config(), 0, "ff00")


def test_a_repeat_is_another_question() -> None:
    keys = {question_key(Config(), 0, "ff00", repeat=number) for number in range(3)}
    assert len(keys) == 3


@pytest.mark.parametrize(
    "changed",
    [
        {"base_url": "http://elsewhere/v1"},
        {"concurrency": 2},
        {"requests_per_minute": 2},
        {"tokens_per_minute": 2},
        {"batch": True},
        {"retries": 1},
        {"timeout": 5},
        {"api_key_env": "MINE"},
        {"max_tokens": 2000},
    ],
)
def test_what_does_not(changed: dict[str, object]) -> None:
    here = question_key(parse_config({"teachers": [changed]}), 0, "ff00")
    assert here == question_key(Config(), 0, "ff00")


@pytest.mark.parametrize(
    "changed",
    [
        {"prepare": {"min_confidence": 0.9}},
        {"device": {"side": 128}},
        {"label": {"second_opinion_below": 0.9, "budget_usd": 1}},
        {"gates": {"accuracy": 0.5}},
    ],
)
def test_changes_that_cost_nothing(changed: dict[str, object]) -> None:
    assert question_key(parse_config(changed), 0, "ff00") == question_key(Config(), 0, "ff00")
