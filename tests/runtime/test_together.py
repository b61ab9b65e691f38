"""Many pictures at a time get what each gets alone, to the last bit, whoever its neighbours are."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pocketvlm.config import parse_config
from pocketvlm.contract import Contract
from pocketvlm.errors import PocketError
from pocketvlm.pictures import Bitmap
from pocketvlm.runtime import Asked, Runtime, gbnf
from pocketvlm.runtime.loading import SEQUENCES
from pocketvlm.runtime.resize import set_preprocessed_side
from pocketvlm.runtime.together import MOST, Together
from tests.runtime.conftest import SIDE, Pair

FIRST = "{question}\n{marker}\nElement:"
"""The question before the picture: its text stays in the cache from batch to batch."""

LONG = "Look well, " * 24 + "then say which."

FEW = 12
"""Labels that a runtime scores at once here. From 64 tokens side by side on, ggml's flash attention
rounds otherwise (`test_many_labels_at_once`)."""

LETTERS = {f"{one}{two}{one}": "a word" for one in "abcdefgh" for two in "klmnopqrs"}
"""Labels of several tokens, more of them than sequences in a runtime's cache."""

CONTRACTS: dict[str, dict[str, Any]] = {
    "marker first": {},
    "question first": {"prompt": FIRST},
    "single": {"tiles": "single"},
    "single, question first": {"tiles": "single", "prompt": FIRST},
    "long question": {"question": LONG},
    "long question first": {"question": LONG, "prompt": FIRST},
    "longer labels": {"labels": {"waterfall": "a", "iron": "b", "firefly": "c", "fire": "d"}},
    "many labels": {"labels": LETTERS},
}

Says = Callable[[Bitmap, str], Pair]


def make_contract(
    question: str = "Which one?", labels: dict[str, str] | None = None, **device: Any
) -> Contract:
    task = {"question": question} | ({"labels": labels} if labels else {})
    return Contract.of(
        parse_config({"task": task, "device": {"side": SIDE, "max_new_tokens": 8} | device})
    )


@pytest.fixture(scope="module", params=CONTRACTS)
def asked(request: pytest.FixtureRequest) -> Contract:
    """A contract of each kind."""
    return make_contract(**CONTRACTS[request.param])


@pytest.fixture(scope="module")
def many() -> list[Bitmap]:
    """More pictures than go into a batch."""
    random = np.random.default_rng(3)
    return list(random.integers(0, 256, (MOST + 5, SIDE, SIDE, 3), dtype=np.uint8))


@pytest.fixture
def together(pair: Pair, contract: Contract) -> Iterator[Together]:
    with Runtime(*pair, threads=1) as runtime, Together(runtime, contract) as opened:
        yield opened


def one_by_one(
    files: Pair, contract: Contract, bitmaps: Sequence[Bitmap], stock: bool = False
) -> list[Asked]:
    """What a runtime says of each picture alone."""
    labels = [contract.answer(label) for label in contract.labels]
    prompt, most, said = contract.prompt, contract.max_new_tokens, []
    with (
        Runtime(*files, tiles=contract.tiles, stock=stock, threads=1) as runtime,
        runtime.grammar(gbnf(contract.labels)) as grammar,
    ):
        for bitmap in bitmaps:
            free = runtime.answer(prompt, bitmap, most)
            scores = tuple(
                score
                for at in range(0, len(labels), FEW)
                for score in runtime.likelihoods(prompt, bitmap, labels[at : at + FEW]).tolist()
            )
            bound = runtime.answer(prompt, bitmap, most, grammar).text
            said.append(Asked(free.text, len(free.ids), free.ended, scores, bound))
    return said


def side_by_side(
    files: Pair, contract: Contract, batches: Sequence[Sequence[Bitmap]], stock: bool = False
) -> list[Asked]:
    """What it says of batches of pictures."""
    with (
        Runtime(*files, tiles=contract.tiles, stock=stock, threads=1) as runtime,
        Together(runtime, contract) as opened,
    ):
        return [
            one for batch in batches for one in opened.ask(batch, likelihoods=True, grammar=True)
        ]


def scores(said: Sequence[Asked]) -> NDArray[np.float64]:
    """All likelihoods, (pictures, labels)."""
    return np.array([one.likelihoods for one in said], np.float64)


def test_each_contract_gets_what_it_gets_one_by_one(
    pair: Pair, asked: Contract, many: list[Bitmap]
) -> None:
    alone = one_by_one(pair, asked, many[:10])
    assert side_by_side(pair, asked, [many[:7], many[7:10]]) == alone
    assert len({one.text for one in alone}) > 1, "the picture must matter"


@pytest.mark.parametrize("size", [1, 5, MOST])
def test_the_size_of_a_batch_changes_nothing(
    pair: Pair, contract: Contract, many: list[Bitmap], size: int
) -> None:
    batches = [many[at : at + size] for at in range(0, len(many), size)]
    assert len(batches[-1]) < size or size == 1, "the last one must be partial"
    assert side_by_side(pair, contract, batches) == one_by_one(pair, contract, many)


def test_f32_files_agree_to_what_the_cache_rounds(
    exact_pair: Pair, contract: Contract, many: list[Bitmap]
) -> None:
    alone = one_by_one(exact_pair, contract, many)
    beside = side_by_side(exact_pair, contract, [many[:MOST], many[MOST:]])
    assert [one.text for one in beside] == [one.text for one in alone]
    assert np.abs(scores(beside) - scores(alone)).max() < 1e-4


def test_many_labels_at_once(exact_pair: Pair, many: list[Bitmap]) -> None:
    contract = make_contract(labels=LETTERS)
    assert len(LETTERS) > SEQUENCES
    labels = [contract.answer(label) for label in LETTERS]
    with Runtime(*exact_pair, threads=1) as runtime, Together(runtime, contract) as opened:
        alone = [runtime.likelihoods(contract.prompt, one, labels) for one in many[:4]]
        beside = scores(opened.ask(many[:4], likelihoods=True))
    assert np.abs(beside - alone).max() < 0.02


def test_answers_of_one_batch_end_each_at_its_place(
    says: Says, contract: Contract, pictures: list[Bitmap]
) -> None:
    files = says(pictures[2], "wood")
    beside = side_by_side(files, contract, [pictures])
    alone = one_by_one(files, contract, pictures)
    lengths = [(one.text, one.tokens, one.ended) for one in beside]
    assert lengths == [(one.text, one.tokens, one.ended) for one in alone]
    assert lengths[2] == (" wood", 2, True)
    assert (8, False) in {one[1:] for one in lengths}, "another must be cut at the limit"


def test_a_limit_of_one_token(pair: Pair, many: list[Bitmap]) -> None:
    contract = make_contract(max_new_tokens=1)
    beside = side_by_side(pair, contract, [many[:4]])
    assert beside == one_by_one(pair, contract, many[:4])
    assert {one.tokens for one in beside} == {1}


def test_no_picture_sees_its_neighbours(together: Together, many: list[Bitmap]) -> None:
    batch = many[: together.size]
    straight = together.ask(batch, likelihoods=True, grammar=True)
    order = np.random.default_rng(0).permutation(len(batch))
    mixed = together.ask([batch[at] for at in order], likelihoods=True, grammar=True)
    assert mixed == [straight[at] for at in order]
    black = [np.zeros_like(batch[0])] * (len(batch) - 1)
    assert together.ask([*black, batch[4]], likelihoods=True)[-1].likelihoods == (
        straight[4].likelihoods
    )
    assert len({one.likelihoods for one in straight}) == len(batch), "the picture must matter"


def test_nothing_is_left_of_the_batch_before(together: Together, many: list[Bitmap]) -> None:
    fresh = together.ask(many[:3], likelihoods=True, grammar=True)
    together.ask(many[: together.size], likelihoods=True, grammar=True)
    assert together.ask(many[:3], likelihoods=True, grammar=True) == fresh
    together.ask(many[5:6])
    assert together.ask(many[:3], likelihoods=True, grammar=True) == fresh


def test_a_runtime_asked_beside_does_no_harm(
    pair: Pair, contract: Contract, many: list[Bitmap]
) -> None:
    with Runtime(*pair, threads=1) as runtime, Together(runtime, contract) as opened:
        before = opened.ask(many[:3], likelihoods=True)
        logits = runtime.logits(contract.prompt, many[0])
        assert opened.ask(many[:3], likelihoods=True) == before
        assert np.array_equal(runtime.logits(contract.prompt, many[0]), logits)


def test_what_is_not_asked_is_none(together: Together, many: list[Bitmap]) -> None:
    for one in together.ask(many[:2]):
        assert (one.likelihoods, one.constrained) == (None, None)


def test_a_batch_that_fails_does_no_harm(together: Together, many: list[Bitmap]) -> None:
    before = together.ask(many[:3], likelihoods=True, grammar=True)
    with pytest.raises(PocketError, match="the bitmap is"):
        together.ask([*many[:3], np.zeros((64, 64, 3), np.uint8)])
    assert together.ask(many[:3], likelihoods=True, grammar=True) == before


@pytest.mark.parametrize("shape", [(SIDE, SIDE), (2 * SIDE + 50, 2 * SIDE + 50), (300, 200)])
@pytest.mark.parametrize("tiled", [False, True])
def test_a_stock_app_s_pictures_of_any_size(
    pair: Pair,
    contract: Contract,
    tmp_path: Path,
    shape: tuple[int, int],
    tiled: bool,
) -> None:
    files = pair[0], Path(shutil.copy(pair[1], tmp_path))
    if tiled:
        set_preprocessed_side(files[1], 4 * SIDE)
    random = np.random.default_rng(5)
    bitmaps = list(random.integers(0, 256, (3, *shape, 3), dtype=np.uint8))
    assert side_by_side(files, contract, [bitmaps], stock=True) == (
        one_by_one(files, contract, bitmaps, stock=True)
    )


def test_room_for_fewer_pictures_where_they_are_longer(pair: Pair, contract: Contract) -> None:
    with Runtime(*pair, threads=1) as runtime:
        with Together(runtime, contract) as opened:
            assert opened.size == MOST
        with Together(runtime, make_contract(question="Which? " * 150)) as opened:
            assert 1 < opened.size < MOST
