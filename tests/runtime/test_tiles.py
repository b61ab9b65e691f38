"""What all pictures share is computed once, and which tiles are evaluated: no bit may differ."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama
import llama_cpp.mtmd_cpp as mtmd
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pocketvlm.base import load_tokenizer
from pocketvlm.config import parse_config
from pocketvlm.contract import FAKE, OVERVIEW, Contract
from pocketvlm.errors import PocketError
from pocketvlm.pictures import Bitmap
from pocketvlm.runtime import Runtime, ask_layout
from pocketvlm.runtime.resize import set_preprocessed_side
from pocketvlm.student.load import load_model
from pocketvlm.student.student import Student
from tests.runtime.conftest import SIDE, Pair

PROMPTS = (
    "<__media__>\nWhich element is it?\n\nElement:",
    "3 dogs,\n\n33 cats: <__media__>Grüße!\n\nElement:",
    "3 dogs,\n\n33 cats: <__media__>\nElement:",
    "Look at this: <__media__>",
)

TILES = 17
"""Of a picture that the runtime enlarges to four tiles a side."""

LABELS = [
    " wood<end_of_utterance>",
    " metal<end_of_utterance>",
    " water and fire<end_of_utterance>",
]

Do = Callable[[Runtime, Bitmap], object]
"""Something done with a runtime between two pictures."""


@pytest.fixture(scope="module", params=["exact", "usual"])
def opened(request: pytest.FixtureRequest, exact_pair: Pair, pair: Pair) -> Callable[..., Runtime]:
    """Opens a fresh runtime: of F32 and exact, or as the phone does."""
    exact = request.param == "exact"

    def make(tiles: str = "runtime", stock: bool = False) -> Runtime:
        files = exact_pair if exact else pair
        return Runtime(*files, tiles=tiles, stock=stock, exact=exact, threads=1)

    return make


@pytest.fixture(scope="module")
def stock_pair(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """With the metadata of SmolVLM's own files."""
    vision = Path(shutil.copy(pair[1], tmp_path_factory.mktemp("stock")))
    set_preprocessed_side(vision, 4 * SIDE)
    return pair[0], vision


@pytest.fixture
def encodings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Grows by one item whenever the vision tower runs."""
    runs: list[int] = []
    encode = mtmd.mtmd_encode_chunk

    def counting(*arguments: Any) -> int:
        runs.append(1)
        return int(encode(*arguments))

    monkeypatch.setattr(mtmd, "mtmd_encode_chunk", counting)
    yield runs


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Grows by the size of every batch of text."""
    sizes: list[int] = []
    decode = llama.llama_decode

    def counting(context: Any, batch: Any) -> int:
        sizes.append(batch.n_tokens)
        return int(decode(context, batch))

    monkeypatch.setattr(llama, "llama_decode", counting)
    yield sizes


def fresh(
    opened: Callable[..., Runtime], tiles: str, prompt: str, picture: Bitmap
) -> NDArray[np.float32]:
    """First-token logits of a runtime that was asked nothing before."""
    with opened(tiles) as runtime:
        return runtime.logits(prompt, picture)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_what_is_computed_once_changes_no_bit(
    opened: Callable[..., Runtime], pictures: list[Bitmap], prompt: str
) -> None:
    with opened() as once, opened(stock=True) as each:
        ours = [once.logits(prompt, picture) for picture in pictures]
        assert np.array_equal([each.logits(prompt, picture) for picture in pictures], ours)
        for picture in pictures:
            assert once.answer(prompt, picture, 6).ids == each.answer(prompt, picture, 6).ids
    assert len({row.tobytes() for row in ours}) == len(pictures), "the picture must matter"


def test_equal_tiles_are_encoded_once(
    pair: Pair, pictures: list[Bitmap], encodings: list[int]
) -> None:
    with Runtime(*pair, threads=1) as runtime:
        for count, picture in enumerate(pictures, 1):
            runtime.logits(PROMPTS[0], picture)
            assert len(encodings) == 2 + count, "noise is asked first"
    encodings.clear()
    with Runtime(*pair, stock=True, threads=1) as runtime:
        runtime.logits(PROMPTS[0], pictures[0])
    assert len(encodings) == 2


def test_other_tiles_are_each_encoded(
    stock_pair: Pair, pictures: list[Bitmap], encodings: list[int]
) -> None:
    with Runtime(*stock_pair, threads=1) as runtime:
        logits = runtime.logits(PROMPTS[0], pictures[0])
        assert len(encodings) == 2 + TILES
        assert runtime.ids(PROMPTS[0], pictures[0]).count(runtime.image_id) == TILES * 4
    with Runtime(*stock_pair, stock=True, threads=1) as runtime:
        assert np.array_equal(runtime.logits(PROMPTS[0], pictures[0]), logits)


def test_a_plain_picture_does_not_decide_for_the_others(
    stock_pair: Pair, pictures: list[Bitmap]
) -> None:
    black = np.zeros_like(pictures[0])
    with Runtime(*stock_pair, threads=1) as after, Runtime(*stock_pair, threads=1) as first:
        after.logits(PROMPTS[0], black)
        expected = first.logits(PROMPTS[0], pictures[0])
        assert np.array_equal(after.logits(PROMPTS[0], pictures[0]), expected)


def answers(runtime: Runtime, picture: Bitmap) -> None:
    runtime.answer(PROMPTS[1], picture, 6)


def scores(runtime: Runtime, picture: Bitmap) -> None:
    runtime.likelihoods(PROMPTS[1], picture, LABELS)


def reads_text_alone(runtime: Runtime, picture: Bitmap) -> None:
    runtime.text_logits(np.ones((40, runtime.hidden), np.float32))


def asks_after_other_text(runtime: Runtime, picture: Bitmap) -> None:
    runtime.answer(PROMPTS[3], picture, 6)


def asks_after_no_text(runtime: Runtime, picture: Bitmap) -> None:
    runtime.answer(PROMPTS[0], picture, 6)


def asks_something_else_after_the_same_text(runtime: Runtime, picture: Bitmap) -> None:
    runtime.answer(PROMPTS[2], picture, 6)


def looks_only(runtime: Runtime, picture: Bitmap) -> None:
    runtime.embeddings(picture)
    runtime.ids(PROMPTS[3], picture)


def asks_too_much(runtime: Runtime, picture: Bitmap) -> None:
    with pytest.raises(PocketError, match="more than the 2048 tokens"):
        runtime.answer(PROMPTS[1] + "?" * 2048, picture, 6)


def begins_with_too_much(runtime: Runtime, picture: Bitmap) -> None:
    with pytest.raises(PocketError, match="more than the 2048 tokens"):
        runtime.answer("?" * 2048 + PROMPTS[1], picture, 6)


@pytest.mark.parametrize("tiles", ["runtime", "single"])
@pytest.mark.parametrize(
    "between",
    [
        answers,
        scores,
        reads_text_alone,
        asks_after_other_text,
        asks_after_no_text,
        asks_something_else_after_the_same_text,
        looks_only,
        asks_too_much,
        begins_with_too_much,
    ],
)
def test_kept_text_changes_no_bit(
    opened: Callable[..., Runtime], pictures: list[Bitmap], tiles: str, between: Do
) -> None:
    first = fresh(opened, tiles, PROMPTS[1], pictures[1])
    second = fresh(opened, tiles, PROMPTS[1], pictures[2])
    with opened(tiles) as runtime:
        runtime.logits(PROMPTS[1], pictures[0])
        between(runtime, pictures[3])
        assert np.array_equal(runtime.logits(PROMPTS[1], pictures[1]), first)
        between(runtime, pictures[3])
        between(runtime, pictures[4])
        assert np.array_equal(runtime.logits(PROMPTS[1], pictures[2]), second)
    assert not np.array_equal(first, second), "the picture must matter"


@pytest.mark.parametrize("tiles", ["runtime", "single"])
def test_kept_text_changes_no_answer_and_no_likelihood(
    opened: Callable[..., Runtime], pictures: list[Bitmap], tiles: str
) -> None:
    with opened(tiles) as kept:
        for picture in pictures:
            with opened(tiles) as runtime:
                expected = runtime.likelihoods(PROMPTS[1], picture, LABELS)
                said = runtime.answer(PROMPTS[1], picture, 6).ids
            assert np.array_equal(kept.likelihoods(PROMPTS[1], picture, LABELS), expected)
            assert kept.answer(PROMPTS[1], picture, 6).ids == said


@pytest.mark.parametrize("tiles", ["runtime", "single"])
def test_the_text_before_the_picture_is_computed_once(
    pair: Pair, pictures: list[Bitmap], decoded: list[int], tiles: str
) -> None:
    with Runtime(*pair, tiles=tiles, threads=1) as runtime:
        ids = runtime.ids(PROMPTS[1], pictures[0])
        start = ids.index(runtime.image_id)
        rest = len(ids) - start - ids.count(runtime.image_id)
        sums = []
        for picture in pictures:
            runtime.logits(PROMPTS[1], picture)
            sums.append(sum(decoded))
    assert start > 10
    assert sums == [start + count * rest for count in range(1, len(pictures) + 1)]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_single_is_the_overview_between_the_app_s_texts(
    pair: Pair, stock_pair: Pair, pictures: list[Bitmap], encodings: list[int], prompt: str
) -> None:
    before, after = prompt.split("<__media__>")
    for files in (pair, stock_pair):
        encodings.clear()
        with Runtime(*files, threads=1) as whole, Runtime(*files, tiles="single", threads=1) as one:
            picture = [one.image_id] * 4
            expected = [*one.tokens(before + FAKE + OVERVIEW), *picture, *one.tokens(FAKE + after)]
            assert one.ids(prompt, pictures[0]) == expected
            one.logits(prompt, pictures[0])
            assert len(encodings) == 1
            seen = one.embeddings(pictures[0])
            assert np.array_equal(seen, whole.embeddings(pictures[0])[-1:])


@pytest.fixture(scope="module", params=PROMPTS[:3])
def single(request: pytest.FixtureRequest, model: Path) -> Student:
    """The student in torch under `tiles: single`."""
    device = {"side": SIDE, "tiles": "single", "max_new_tokens": 8}
    prompt = request.param.replace("<__media__>", "{marker}")
    contract = Contract.of(parse_config({"device": device | {"prompt": prompt}}))
    layout = ask_layout(model, contract)
    return Student(load_model(model, torch.float32), load_tokenizer(model), contract, layout)


def test_single_is_what_torch_reads(
    single: Student, exact_pair: Pair, pictures: list[Bitmap]
) -> None:
    prompt = single.contract.prompt
    labels = [single.contract.answer(label) for label in single.contract.labels]
    with Runtime(*exact_pair, tiles="single", exact=True, threads=1) as runtime:
        assert runtime.ids(prompt, pictures[0]) == single.prompt
        logits = np.stack([runtime.logits(prompt, picture) for picture in pictures])
        said = [runtime.answer(prompt, picture, 8).text for picture in pictures]
        scored = np.stack([runtime.likelihoods(prompt, each, labels) for each in pictures])
    assert np.abs(logits - single.logits(pictures).numpy()).max() < 3e-3
    assert np.abs(scored - single.likelihoods(pictures)).max() < 3e-3
    assert said == single.answers(pictures)
    assert len(set(said)) > 1, "the picture must matter"


def test_single_is_another_question_than_runtime(
    opened: Callable[..., Runtime], pictures: list[Bitmap]
) -> None:
    runtime, single = (
        fresh(opened, tiles, PROMPTS[0], pictures[0]) for tiles in ("runtime", "single")
    )
    assert np.abs(runtime - single).max() > 0.1
