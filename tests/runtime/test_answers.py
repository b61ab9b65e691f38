"""Greedy answers and likelihoods: how they end, and that nothing is left from one to the next."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pocketvlm.contract import END, Contract
from pocketvlm.errors import PocketError
from pocketvlm.pictures import Bitmap
from pocketvlm.runtime import Runtime

Says = Callable[[Bitmap, str], tuple[Path, Path]]


def test_an_answer_ends_on_the_end_token_and_does_not_show_it(
    says: Says, contract: Contract, pictures: list[Bitmap]
) -> None:
    with Runtime(*says(pictures[0], "wood"), threads=1) as runtime:
        answer = runtime.answer(contract.prompt, pictures[0], 8)
        assert (answer.text, answer.ended) == (" wood", True)
        assert answer.ids == runtime.tokens(contract.answer("wood"))
        assert contract.label_of(answer.text) == "wood"


def test_an_answer_stops_at_the_limit(
    runtime: Runtime, contract: Contract, pictures: list[Bitmap]
) -> None:
    long = runtime.answer(contract.prompt, pictures[0], 6)
    short = runtime.answer(contract.prompt, pictures[0], 3)
    assert not long.ended
    assert not short.ended
    assert long.ids[:3] == short.ids
    assert short.text == runtime.text(short.ids)


def test_all_tokens_that_end_generation_are_known(runtime: Runtime) -> None:
    assert runtime.tokens(f"<|im_end|>{END}") == sorted(set(runtime.end_ids) - {0})


def test_an_answer_tells_its_time(
    runtime: Runtime, contract: Contract, pictures: list[Bitmap]
) -> None:
    answer = runtime.answer(contract.prompt, pictures[0], 2)
    assert 0 < answer.vision_ms < answer.ms < 60_000


def test_nothing_is_left_of_the_picture_before(
    runtime: Runtime, contract: Contract, pictures: list[Bitmap]
) -> None:
    labels = [contract.answer(label) for label in contract.labels]
    first = runtime.logits(contract.prompt, pictures[0])
    for picture in pictures:
        runtime.answer(contract.prompt, picture, 4)
        runtime.likelihoods(contract.prompt, picture, labels)
    assert np.array_equal(runtime.logits(contract.prompt, pictures[0]), first)


def test_the_likelihood_of_one_token_is_its_softmax(
    runtime: Runtime, contract: Contract, pictures: list[Bitmap]
) -> None:
    logits = runtime.logits(contract.prompt, pictures[0]).astype(np.float64)
    expected = logits - np.log(np.exp(logits).sum())
    (likelihood,) = runtime.likelihoods(contract.prompt, pictures[0], [END])
    assert likelihood == pytest.approx(expected[runtime.tokens(END)[0]])


def test_each_likelihood_is_its_own(
    runtime: Runtime, contract: Contract, pictures: list[Bitmap]
) -> None:
    answers = [" water and fire" + END, *map(contract.answer, contract.labels)]
    together = runtime.likelihoods(contract.prompt, pictures[0], answers)
    backwards = runtime.likelihoods(contract.prompt, pictures[0], answers[::-1])
    assert np.array_equal(together, backwards[::-1])
    assert together[0] < together[1:].min()


def test_the_likelihood_of_the_greedy_answer_is_the_highest(
    says: Says, contract: Contract, pictures: list[Bitmap]
) -> None:
    with Runtime(*says(pictures[1], "metal"), threads=1) as runtime:
        answers = [contract.answer(label) for label in contract.labels]
        scores = runtime.likelihoods(contract.prompt, pictures[1], answers)
    assert contract.labels[int(scores.argmax())] == "metal"


def test_a_prompt_beyond_the_context_is_refused_and_does_no_harm(
    runtime: Runtime, contract: Contract, pictures: list[Bitmap]
) -> None:
    before = runtime.logits(contract.prompt, pictures[0])
    with pytest.raises(PocketError, match="more than the 2048 tokens"):
        runtime.answer("<__media__>" + "?" * 2040, pictures[0], 8)
    with pytest.raises(PocketError, match="more than the 2048 tokens"):
        runtime.text_logits(np.zeros((2049, runtime.hidden), np.float32))
    assert np.array_equal(runtime.logits(contract.prompt, pictures[0]), before)


def test_a_prompt_may_be_longer_than_one_computed_batch(
    exact: Runtime, contract: Contract, pictures: list[Bitmap]
) -> None:
    ids = exact.ids("<__media__>" + "?!" * 500, pictures[0])
    assert len(ids) > 900
    assert np.isfinite(exact.logits("<__media__>" + "?!" * 500, pictures[0])).all()
