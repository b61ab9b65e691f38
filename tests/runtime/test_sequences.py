"""Token sequences side by side in one context: each is read as if it were alone."""

from collections.abc import Iterator, Mapping, Sequence

import llama_cpp.llama_cpp as llama
import numpy as np
import pytest
from numpy.typing import NDArray

from pocketvlm.errors import PocketError
from pocketvlm.runtime import Runtime
from pocketvlm.runtime.sequences import Sequences
from tests.runtime.conftest import Pair

ROOM = 256
COUNT = 4
MOST = 300

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def opened(exact_pair: Pair) -> Iterator[Runtime]:
    with Runtime(*exact_pair, threads=1) as runtime:
        yield runtime


@pytest.fixture
def cache(opened: Runtime) -> Iterator[Sequences]:
    context = opened.open_context(COUNT, ROOM)
    yield Sequences(
        context, size=opened.size, hidden=opened.hidden, room=ROOM, most=MOST, count=COUNT
    )
    llama.llama_free(context)


def ids(seed: int, count: int) -> list[int]:
    return [int(token) for token in np.random.default_rng(seed).integers(3, 250, count)]


def alone(cache: Sequences, parts: Sequence[Sequence[int]]) -> Floats:
    """Last logits of a sequence that is read with nothing beside it."""
    cache.clear()
    for part in parts:
        cache.read({0: part})
    return cache.logits().copy()


def close(one: Floats, other: Floats) -> bool:
    return bool(np.abs(one - other).max() < 1e-3)


def test_sequences_of_other_lengths_do_not_see_each_other(cache: Sequences) -> None:
    rows = {0: ids(0, 3), 1: ids(1, 40), 3: ids(3, 1)}
    expected = {at: alone(cache, [row]) for at, row in rows.items()}
    cache.clear()
    cache.read(rows)
    for at, row in expected.items():
        assert close(cache.logits(at), row)
    assert not close(expected[0], expected[1])
    assert cache.positions == [3, 40, 0, 1]


def test_what_is_appended_follows_its_own_sequence(cache: Sequences) -> None:
    first, second = {0: ids(0, 5), 2: ids(2, 9)}, {2: ids(4, 2), 0: ids(5, 7)}
    expected = {at: alone(cache, [first[at], second[at]]) for at in first}
    cache.clear()
    cache.read(first)
    cache.read(second)
    for at, row in expected.items():
        assert close(cache.logits(at), row)


def test_logits_of_every_token(cache: Sequences) -> None:
    rows = {0: ids(0, 3), 1: ids(1, 5)}
    expected = {
        (at, place): alone(cache, [row[: place + 1]])
        for at, row in rows.items()
        for place in range(len(row))
    }
    cache.clear()
    cache.read(rows, every=True)
    for (at, place), row in expected.items():
        assert close(cache.logits(at, place), row)
    assert np.array_equal(cache.logits(1), cache.logits(1, 4)), "the last one unless another"


def test_empty_parts_are_passed_over(cache: Sequences) -> None:
    cache.clear()
    cache.read({0: ids(0, 3), 1: []})
    cache.read({0: [], 1: []})
    assert cache.positions == [3, 0, 0, 0]


def test_embeddings_go_each_to_its_sequence(cache: Sequences, opened: Runtime) -> None:
    random = np.random.default_rng(0)
    one, other = (random.normal(size=(count, opened.hidden)).astype(np.float32) for count in (4, 9))
    expected = opened.text_logits(one).copy(), opened.text_logits(other).copy()
    cache.clear()
    cache.see({1: one, 0: other})
    assert close(cache.logits(1), expected[0])
    assert close(cache.logits(0), expected[1])
    assert cache.positions == [9, 4, 0, 0]


def test_a_rewound_sequence_has_forgotten(cache: Sequences) -> None:
    kept, gone, new = ids(0, 6), ids(1, 8), ids(2, 4)
    expected = alone(cache, [kept, new])
    cache.clear()
    cache.read({0: kept, 1: gone})
    cache.read({0: gone})
    cache.rewind(0, len(kept))
    cache.read({0: new, 1: new})
    assert close(cache.logits(0), expected)
    assert cache.positions[:2] == [len(kept) + len(new), len(gone) + len(new)]


def test_forks_begin_as_their_source_and_go_on_apart(cache: Sequences) -> None:
    start, ways = ids(0, 12), {0: ids(3, 2), 1: ids(1, 3), 2: ids(2, 5)}
    expected = {at: alone(cache, [start, way]) for at, way in ways.items()}
    cache.clear()
    cache.read({1: ids(9, 30)})
    cache.read({0: start})
    cache.fork(0, [1, 2])
    assert cache.positions == [12, 12, 12, 0]
    cache.read(ways)
    for at, row in expected.items():
        assert close(cache.logits(at), row)


@pytest.mark.parametrize(
    ("rows", "error"),
    [({0: ids(0, ROOM + 1)}, PocketError), ({0: ids(0, 200), 1: ids(1, 200)}, ValueError)],
)
def test_too_much_is_refused_and_does_no_harm(
    cache: Sequences, rows: Mapping[int, Sequence[int]], error: type[Exception]
) -> None:
    start, rest = ids(2, 5), ids(3, 5)
    expected = alone(cache, [start, rest])
    cache.clear()
    cache.read({0: start})
    with pytest.raises(error, match=r"256 tokens of the context|400 tokens in a batch of at most"):
        cache.read(rows)
    assert cache.positions[0] == len(start)
    cache.read({0: rest})
    assert np.array_equal(cache.logits(), expected)


def test_the_room_is_each_sequence_s_own(cache: Sequences) -> None:
    for at in range(COUNT):
        cache.read({at: ids(at, ROOM)})
    assert cache.positions == [ROOM] * COUNT
    with pytest.raises(PocketError, match="more than the 256 tokens"):
        cache.read({2: [5]})


def test_embeddings_of_another_width_are_refused(cache: Sequences, opened: Runtime) -> None:
    with pytest.raises(ValueError, match=f"expected \\(n, {opened.hidden}\\)"):
        cache.see({0: np.zeros((4, opened.hidden + 1), np.float32)})
