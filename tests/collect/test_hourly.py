"""The hourly pace uses what a server allows, however it counts, and wastes next to nothing."""

import math
import random
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketvlm.collect.hourly import HOUR, LAST_PROBE, MARGIN, Pace

HOURS = 12
"""That a simulated run takes."""


@dataclass
class Server:
    """A limit an hour. Subclasses say which requests count together."""

    limit: int
    phase: float = 0.0
    counted: list[float] = field(default_factory=list)
    """Times of the requests that count together."""

    def forget(self, now: float) -> None:
        """Drop those that no longer count."""
        raise NotImplementedError

    def ask(self, now: float) -> int | None:
        """How many are left after this request; None when it is refused."""
        self.forget(now)
        if len(self.counted) >= self.limit:
            return None
        self.counted.append(now)
        return self.limit - len(self.counted)


class FromFirst(Server):
    """An hour begins with the first request after the last one."""

    def forget(self, now: float) -> None:
        if self.counted and now >= self.counted[0] + HOUR:
            self.counted.clear()


class Fixed(Server):
    """Hours begin at fixed times."""

    def forget(self, now: float) -> None:
        if self.counted and (self.counted[0] + self.phase) // HOUR < (now + self.phase) // HOUR:
            self.counted.clear()


class Sliding(Server):
    """So many in any 3600 seconds."""

    def forget(self, now: float) -> None:
        while self.counted and self.counted[0] <= now - HOUR:
            del self.counted[0]


SERVERS = (FromFirst, Fixed, Sliding)

LIMITS, PHASES, SEEDS = st.integers(1, 60), st.floats(0, HOUR - 1), st.integers(0, 1000)

Pause = tuple[float, float]


class Run(NamedTuple):
    """What a simulated run came to: times of answers."""

    made: list[float]
    refused: list[float]
    opened: float
    """When the server was first seen to allow requests again; never, if it was not."""


def simulate(server: Server, seed: int, others: int = 0, pause: Pause = (math.inf, 0.0)) -> Run:
    """Ask as the pace says, for some hours; a request takes a moment, and so does what is done
    with it. Before that `others` requests were made with the same key. From the first time of
    `pause` on nothing is asked for as many seconds as it says."""
    chance, pace, now = random.Random(seed), Pace(), 0.0
    for _ in range(others):
        server.ask(-60.0)
    run, opened = Run([], [], math.inf), math.inf
    while (now := now + pace.wait(now)) < HOURS * HOUR:
        if now >= pause[0]:
            now, pause = now + pause[1], (math.inf, 0.0)
            continue
        sent, now = now + chance.uniform(0, 0.5), now + chance.uniform(0.5, 1.0)
        left = server.ask(sent)
        if left is None:
            run.refused.append(now)
            pace.refused(now, server.limit)
        else:
            run.made.append(now)
            pace.answered(now, server.limit, left)
            opened = min(opened, pace.opened or math.inf)
            now += chance.uniform(0, 4.0)
    return run._replace(opened=opened)


@pytest.mark.parametrize("kind", SERVERS)
@given(limit=LIMITS, phase=PHASES, others=st.integers(0, 60), seed=SEEDS)
def test_what_is_allowed_is_used(
    kind: type[Server], limit: int, phase: float, others: int, seed: int
) -> None:
    others = min(others, limit)
    run = simulate(kind(limit, phase), seed, others)
    assert len(run.made) >= 0.95 * limit * HOURS - others


@pytest.mark.parametrize("kind", SERVERS)
@given(limit=LIMITS, phase=PHASES, seed=SEEDS)
def test_nothing_is_wasted_after_the_first_hour(
    kind: type[Server], limit: int, phase: float, seed: int
) -> None:
    run = simulate(kind(limit, phase), seed)
    assert len(run.refused) <= 15
    assert max(run.refused, default=0.0) <= HOUR * (1 + LAST_PROBE)


@pytest.mark.parametrize("kind", SERVERS)
@given(
    limit=LIMITS,
    phase=PHASES,
    others=st.integers(0, 60),
    begins=st.floats(0, HOURS * HOUR),
    takes=st.floats(0, 6 * HOUR),
    seed=SEEDS,
)
def test_a_pause_wastes_no_more_than_one_request_an_hour(
    kind: type[Server],
    limit: int,
    phase: float,
    others: int,
    begins: float,
    takes: float,
    seed: int,
) -> None:
    run = simulate(kind(limit, phase), seed, min(others, limit), (begins, takes))
    wasted = [at for at in run.refused if at > run.opened]
    assert all(later - at > 0.9 * HOUR for at, later in pairwise(wasted))
    assert len(wasted) <= 2


@given(
    answers=st.lists(
        st.tuples(st.floats(0, 900), st.integers(0, 3) | st.none(), st.booleans()), max_size=40
    )
)
def test_no_wait_is_longer_than_an_hour_nor_shorter_than_a_minute(
    answers: list[tuple[float, int | None, bool]],
) -> None:
    pace, now = Pace(), 1e9
    for passed, left, refused in answers:
        now += passed
        if refused:
            pace.refused(now)
        else:
            pace.answered(now, 4, left)
        wait = pace.wait(now)
        assert (wait == 0.0) == (pace.remaining != 0)
        assert pace.remaining != 0 or MARGIN * HOUR <= wait <= HOUR * (1 + MARGIN)


def test_a_clock_that_is_set_back_costs_an_hour_at_most() -> None:
    pace = Pace()
    pace.answered(1e9, 50, 0)
    assert pace.wait(1e9 - 1e6) == HOUR * (1 + MARGIN)
    assert pace.wait(1e9 + 1e6) == 0.0


def test_a_server_that_says_nothing_is_asked_on_until_it_refuses() -> None:
    pace = Pace()
    for at in range(99):
        pace.answered(float(at), None, None)
        assert pace.wait(float(at)) == 0.0
    pace.refused(99.0)
    gaps: list[float] = []
    for _ in range(5):
        gaps.append(pace.wait(99.0 + sum(gaps)))
        pace.refused(99.0 + sum(gaps))
    assert gaps == [120.0, 240.0, 300.0, 300.0, 300.0]


def test_a_higher_limit_is_used_as_soon_as_it_is_said() -> None:
    server, run = FromFirst(50), Pace()
    for at in range(50):
        run.answered(float(at), 50, server.ask(float(at)))
    assert run.wait(50.0) > 0.0
    run.answered(HOUR + 1, 5000, 4999)
    assert run.wait(HOUR + 1) == 0.0


def test_how_long_it_takes() -> None:
    pace = Pace()
    assert pace.seconds_for(1000, 0.0) == 0.0
    pace.answered(0.0, 50, 49)
    assert pace.seconds_for(49, 10.0) == 0.0
    assert pace.seconds_for(50, 10.0) == HOUR - 10
    assert pace.seconds_for(49 + 500, 10.0) == 10 * HOUR - 10
    for at in range(1, 50):
        pace.answered(float(at), 50, 49 - at)
    assert pace.wait(50.0) == HOUR / 60 - 1
    assert pace.opens_within(50.0) == HOUR * (1 + MARGIN) - 50
    assert pace.seconds_for(500, 50.0) == 10 * HOUR + MARGIN * HOUR - 50
