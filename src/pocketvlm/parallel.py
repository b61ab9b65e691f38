"""Work on many pictures with all cores, in order, without holding more than a few at a time."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 4
"""Pieces of work a worker that are begun before their turn."""


def workers() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(work: Callable[[T], R], items: Iterable[T]) -> Generator[tuple[T, R], None, None]:
    """Each item with what `work` makes of it, in the order of `items`, which may be endless: few
    are taken ahead. What `work` raises is raised at its item's turn, and what `items` raise after
    all that they gave before.

    Threads: Pillow, numpy and zlib leave Python's lock while they work. None is at work any more
    when the iterator has ended, been closed or raised: folders can be removed then."""
    cores = workers()
    waiting: deque[tuple[T, Future[R]]] = deque()
    broken: list[Exception] = []
    pool = ThreadPoolExecutor(cores)
    try:
        for item in until_broken(items, broken):
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) > AHEAD * cores:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
        for error in broken:
            raise error
    finally:
        pool.shutdown(cancel_futures=True)


def until_broken(items: Iterable[T], broken: list[Exception]) -> Iterator[T]:
    """The items; where they raise, they end and the error is added to `broken`."""
    try:
        for item in items:  # noqa: UP028 (a source that is not ours to close)
            yield item
    except Exception as error:
        broken.append(error)
