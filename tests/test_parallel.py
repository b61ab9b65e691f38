"""Work in order on all cores: few items are taken ahead, and nothing is left at work."""

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from threading import Barrier, Lock, active_count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketvlm.parallel import AHEAD, in_order, workers

MOST = AHEAD * workers() + 1
"""Items that may be on their way."""


@given(st.lists(st.integers(), max_size=60))
def test_every_item_comes_once_in_its_order(items: list[int]) -> None:
    assert list(in_order(lambda number: number * 2, items)) == [(one, one * 2) for one in items]


def test_an_endless_source_is_taken_little_ahead() -> None:
    taken = []

    def source() -> Iterator[int]:
        for number in count():
            taken.append(number)
            yield number

    for number, _ in islice(in_order(str, source()), 200):
        assert len(taken) - number <= MOST


def test_all_cores_work_at_a_time() -> None:
    """Every worker waits for the others: with one fewer this would end in a broken barrier."""
    together = Barrier(workers())
    done = list(in_order(lambda _: together.wait(20), range(2 * workers())))
    assert len(done) == 2 * workers()


def test_an_error_comes_at_its_item_after_those_before_it() -> None:
    seen = []
    with pytest.raises(ZeroDivisionError):
        for item, _ in in_order(lambda number: 1 // number, [3, 2, 1, 0, 1]):
            seen.append(item)
    assert seen == [3, 2, 1]


@pytest.mark.parametrize("sound", [0, 1, 2, MOST, 3 * MOST])
def test_what_was_taken_comes_before_the_error_of_a_broken_source(sound: int) -> None:
    def source() -> Iterator[int]:
        yield from range(sound)
        raise ZeroDivisionError

    threads, done = active_count(), []
    with pytest.raises(ZeroDivisionError):
        for item, text in in_order(str, source()):
            done.append((item, text))
    assert done == [(number, str(number)) for number in range(sound)]
    assert active_count() == threads


@pytest.mark.parametrize("stop", ["closed", "raised"])
def test_nothing_is_at_work_once_it_has_stopped(tmp_path: Path, stop: str) -> None:
    """A folder that is removed then stays removed."""
    threads, lock = active_count(), Lock()
    ended = []

    def write(number: int) -> None:
        if stop == "raised" and number == 5:
            raise ValueError
        (tmp_path / str(number)).write_bytes(bytes(1_000_000))
        with lock:
            ended.append(number)

    running = in_order(write, count())
    if stop == "closed":
        next(running)
        running.close()  # what a `for` that is left does
    else:
        with pytest.raises(ValueError):
            list(running)
    assert active_count() == threads
    assert sorted(ended) == sorted(int(path.name) for path in tmp_path.iterdir())
    assert len(ended) <= MOST + 5
