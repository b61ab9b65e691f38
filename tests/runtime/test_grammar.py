"""Answers under the labels' grammar: a label always comes out, and nothing ends the process."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketvlm.contract import Contract
from pocketvlm.errors import PocketError
from pocketvlm.pictures import Bitmap
from pocketvlm.runtime import Runtime, gbnf
from pocketvlm.runtime.grammar import Grammar
from tests.runtime.conftest import Pair

NOTHING = "[^\\x00-\\U7FFFFFFF]"
"""What no character is."""

TWO = ("water", "metal")

UNUSUAL = ('5"', "a\\b", "\\", '"', "Öl", "größer", "2nd", "C++", "naïve", "[x]", "水", "🔥", "a|b")

Says = Callable[[Bitmap, str], tuple[Path, Path]]


@pytest.fixture(scope="module")
def opened(pair: Pair) -> Iterator[Runtime]:
    with Runtime(*pair, threads=1) as runtime:
        yield runtime


def say(runtime: Runtime, labels: Sequence[str], random: np.random.Generator) -> str:
    """What a grammar makes of random logits, step after step, until an end token."""
    ids: list[int] = []
    with runtime.grammar(gbnf(labels)) as grammar:
        while not ids or ids[-1] not in runtime.end_ids:
            assert len(ids) < 100
            ids.append(grammar.choose(random.normal(size=runtime.size).astype(np.float32)))
    return runtime.text(ids[:-1])


def begins(runtime: Runtime, token: int, labels: Sequence[str]) -> bool:
    """Whether one of the answers can begin with a token."""
    text = runtime.text([token])
    return bool(text) and any(f" {label}".startswith(text) for label in labels)


def along(runtime: Runtime, grammar: Grammar, wanted: str) -> str:
    """What comes out where the logits favour the tokens of one text."""
    ids = []
    for token in runtime.tokens(wanted):
        logits = np.zeros(runtime.size, np.float32)
        logits[token] = 1
        ids.append(grammar.choose(logits))
    return runtime.text(ids)


def test_the_grammar_names_each_answer() -> None:
    assert gbnf(["water", "land"]) == 'root ::= " water" | " land"\n'
    assert gbnf(['5"', "a\\b"]) == 'root ::= " 5\\"" | " a\\\\b"\n'


def test_only_labels_come_out_of_random_logits(opened: Runtime, contract: Contract) -> None:
    random = np.random.default_rng(0)
    said = {say(opened, contract.labels, random) for _ in range(60)}
    assert said == {f" {label}" for label in contract.labels}


def test_unusual_labels_come_out_as_they_are(opened: Runtime) -> None:
    labels = [label for label in UNUSUAL if label.isascii()]
    random = np.random.default_rng(1)
    assert {say(opened, labels, random) for _ in range(150)} == {f" {label}" for label in labels}


@settings(max_examples=30, deadline=None)
@given(
    labels=st.lists(
        st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12),
        min_size=2,
        max_size=6,
        unique=True,
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_labels_come_out(opened: Runtime, labels: list[str], seed: int) -> None:
    """ASCII alone: of others llama.cpp lets the overlong UTF-8 spelling through, too."""
    said = say(opened, labels, np.random.default_rng(seed))
    assert said.removeprefix(" ") in labels


@pytest.mark.parametrize("label", UNUSUAL)
def test_each_label_can_be_said_by_its_own_tokens(
    opened: Runtime, contract: Contract, label: str
) -> None:
    with opened.grammar(gbnf(UNUSUAL)) as grammar:
        assert along(opened, grammar, contract.answer(label)) == contract.answer(label)


@pytest.mark.parametrize("label", ["fire", "firefly", "fir"])
def test_a_label_that_another_starts_with_can_be_ended_or_gone_on_with(
    opened: Runtime, contract: Contract, label: str
) -> None:
    with opened.grammar(gbnf(["firefly", "fire", "fir"])) as grammar:
        assert along(opened, grammar, contract.answer(label)) == contract.answer(label)


def test_the_likeliest_of_the_allowed_is_taken_however_unlikely(opened: Runtime) -> None:
    (water,), (metal,) = opened.tokens(" water"), opened.tokens(" metal")
    logits = np.arange(opened.size, 0, -1, dtype=np.float32)
    begin = [token for token in range(opened.size) if begins(opened, token, TWO)]
    logits[begin] = -60
    logits[[water, metal]] = -50, -51
    with opened.grammar(gbnf(TWO)) as grammar:
        assert grammar.choose(logits) == water
        assert grammar.choose(logits) in opened.end_ids, "nothing else may follow"


def test_what_is_taken_is_what_trying_each_token_alone_finds(opened: Runtime) -> None:
    random = np.random.default_rng(2)
    begin = [token for token in range(opened.size) if begins(opened, token, TWO)]
    assert len(begin) > 4
    for _ in range(20):
        logits = random.normal(size=opened.size).astype(np.float32)
        with opened.grammar(gbnf(TWO)) as grammar:
            assert grammar.choose(logits) == max(begin, key=lambda token: logits[token])


def test_restarted_it_is_at_the_start_of_an_answer(opened: Runtime, contract: Contract) -> None:
    with opened.grammar(gbnf(contract.labels)) as grammar:
        for cut in (1, 2, 1):
            wanted = opened.text(opened.tokens(contract.answer("wood"))[:cut])
            assert along(opened, grammar, wanted) == wanted
            grammar.restart()


def test_a_free_answer_that_is_a_label_is_the_constrained_one(
    says: Says, contract: Contract, pictures: list[Bitmap]
) -> None:
    with (
        Runtime(*says(pictures[3], "metal"), threads=1) as runtime,
        runtime.grammar(gbnf(contract.labels)) as grammar,
    ):
        for picture in pictures:
            free = runtime.answer(contract.prompt, picture, 8)
            bound = runtime.answer(contract.prompt, picture, 8, grammar)
            assert contract.label_of(bound.text), bound.text
            assert bound.ended
            if picture is pictures[3]:
                assert free.ids == bound.ids == runtime.tokens(contract.answer("metal"))


def test_where_every_token_is_refused_it_says_so(
    opened: Runtime, contract: Contract, pictures: list[Bitmap]
) -> None:
    with opened.grammar(f"root ::= {NOTHING}") as grammar:
        for _ in range(2):
            with pytest.raises(PocketError, match="allows no token"):
                grammar.choose(np.zeros(opened.size, np.float32))
        with pytest.raises(PocketError, match="allows no token"):
            opened.answer(contract.prompt, pictures[0], 8, grammar)
        grammar.restart()
    assert opened.answer(contract.prompt, pictures[0], 8).text


def test_where_every_further_token_is_refused_it_says_so(opened: Runtime) -> None:
    logits = np.zeros(opened.size, np.float32)
    with opened.grammar(f'root ::= "a" {NOTHING}') as grammar:
        for _ in range(2):
            assert opened.text([grammar.choose(logits)]) == "a"
            with pytest.raises(PocketError, match="allows no token"):
                grammar.choose(logits)
            grammar.restart()


def test_nothing_follows_the_end(opened: Runtime, contract: Contract) -> None:
    with opened.grammar(gbnf(contract.labels)) as grammar:
        along(opened, grammar, contract.answer("fire"))
        logits = np.zeros(opened.size, np.float32)
        assert grammar.choose(logits) in opened.end_ids
        assert grammar.choose(logits) in opened.end_ids


@pytest.mark.parametrize("text", ["root ::= (", "water", 'root ::= root "a"', "root ::= other"])
def test_what_is_no_grammar_is_refused(opened: Runtime, text: str) -> None:
    with pytest.raises(PocketError, match="cannot read the labels' grammar"):
        opened.grammar(text)


def test_logits_that_are_no_numbers_are_refused(opened: Runtime, contract: Contract) -> None:
    with (
        opened.grammar(gbnf(contract.labels)) as grammar,
        pytest.raises(PocketError, match="allows no token"),
    ):
        grammar.choose(np.full(opened.size, -np.inf, np.float32))
