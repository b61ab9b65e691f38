"""Servers with limits, and a run against them: event by event, so that an hour takes moments."""

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from pocketvlm.label.pace import Call, Pace

REFUSAL = 0.02
"""Seconds until a 429 is back."""

LATEST = 0.005
"""Seconds that a timer is late at most."""

GUESS = 1000.0
"""Tokens that a call is expected to take."""

Headers = dict[str, str]


@dataclass
class Server:
    """Decides about a call at its start. Subclasses say what their limit is."""

    rate: float
    """Units a second that are allowed."""
    seconds: float
    """Of it that a bucket holds, or that a window counts."""
    unit: Literal["requests", "tokens"] = "requests"
    headers: bool = False
    """Whether replies state the limit, as OpenAI's do."""
    retry: bool = False
    """Whether refusals have Retry-After, in whole seconds."""
    offered: float = field(default=0.0, init=False)
    """Units that could have been admitted up to now, without a first burst."""
    now: float = field(default=0.0, init=False)

    def call(self, now: float, tokens: float) -> tuple[bool, Headers]:
        """Whether a call is admitted, and the reply's headers."""
        self.pass_time(now)
        admitted = self.admits(tokens if self.unit == "tokens" else 1.0)
        said = self.state() if self.headers else {}
        if self.retry and not admitted:
            said["retry-after"] = str(math.ceil(self.reset()))
        return admitted, said

    def pass_time(self, now: float) -> None:
        self.offered += self.rate * (now - self.now)
        self.now = now

    def change(self, now: float, factor: float) -> None:
        """From now on another rate."""
        self.pass_time(now)
        self.rate *= factor

    def state(self) -> Headers:
        return {
            f"x-ratelimit-limit-{self.unit}": f"{self.rate * 60:.0f}",
            f"x-ratelimit-remaining-{self.unit}": f"{self.left():.0f}",
            f"x-ratelimit-reset-{self.unit}": f"{self.reset() * 1000:.0f}ms",
        }

    def admits(self, need: float) -> bool:
        raise NotImplementedError

    def left(self) -> float:
        raise NotImplementedError

    def reset(self) -> float:
        raise NotImplementedError


@dataclass
class Bucket(Server):
    """Refills all the time; full at the start."""

    level: float = field(default=math.nan, init=False)

    def __post_init__(self) -> None:
        self.level = self.rate * self.seconds

    def pass_time(self, now: float) -> None:
        self.level = min(self.rate * self.seconds, self.level + self.rate * (now - self.now))
        super().pass_time(now)

    def admits(self, need: float) -> bool:
        admitted = self.level >= need
        self.level -= need * admitted
        return admitted

    def left(self) -> float:
        return math.floor(self.level)

    def reset(self) -> float:
        return (self.rate * self.seconds - self.level) / self.rate


@dataclass
class Fixed(Server):
    """Counts from nothing in every window; the first begins with the run, less `phase` seconds."""

    phase: float = 0.0
    used: float = field(default=0.0, init=False)

    def pass_time(self, now: float) -> None:
        if (now + self.phase) // self.seconds != (self.now + self.phase) // self.seconds:
            self.used = 0.0
        super().pass_time(now)

    def admits(self, need: float) -> bool:
        admitted = need <= self.left() + 1e-9
        self.used += need * admitted
        return admitted

    def left(self) -> float:
        return self.rate * self.seconds - self.used

    def reset(self) -> float:
        return self.seconds - (self.now + self.phase) % self.seconds


@dataclass
class Sliding(Server):
    """Counts what it admitted in the seconds before."""

    admitted: list[float] = field(default_factory=list, init=False)

    def admits(self, need: float) -> bool:
        self.admitted = [at for at in self.admitted if at > self.now - self.seconds]
        if len(self.admitted) < self.rate * self.seconds:
            self.admitted.append(self.now)
            return True
        return False


@dataclass
class Run:
    """What came of a run."""

    started: list[tuple[float, float]] = field(default_factory=list)
    """Seconds and tokens of every call, refused ones too."""
    admitted: list[tuple[float, float, float]] = field(default_factory=list)
    """Seconds, units, and units offered by then, of the others."""
    answered: list[float] = field(default_factory=list)
    """Seconds."""
    most: int = 0
    """Calls in flight at a time."""

    @property
    def waste(self) -> float:
        """Share of the calls that were refused."""
        return 1 - len(self.admitted) / len(self.started)

    def share(self, burst: float = 0.0, since: float = 0.0) -> float:
        """Units admitted over units allowed, from `since` to the last start."""
        late = [one for one in self.admitted if one[0] >= since]
        first, last = late[0], late[-1]
        offered = last[2] - (first[2] if since else 0.0)
        return sum(one[1] for one in late) / (offered + burst)


class Simulation:
    """A caller that obeys `pace`, and a server with so many slots in which answers take time."""

    def __init__(
        self,
        pace: Pace,
        server: Server,
        calls: int,
        seed: int,
        slots: int | None = None,
        sizes: tuple[float, float] = (GUESS, GUESS),
        latency: tuple[float, float] = (1.0, 3.0),
    ) -> None:
        self.pace, self.server, self.calls = pace, server, calls
        self.chance = random.Random(seed)
        self.sizes, self.latency = sizes, latency
        self.free = [0.0] * slots if slots else []
        self.again: list[float] = []
        self.left, self.number, self.run = calls, 0, Run()
        self.events: list[tuple[float, int, Callable[[float], None]]] = []

    def at(self, when: float, what: Callable[[float], None]) -> None:
        """Let something happen at a time."""
        self.number += 1
        heapq.heappush(self.events, (when, self.number, what))

    def go(self) -> Run:
        """Ask until every call is answered."""
        now = 0.0
        while len(self.run.answered) < self.calls:
            wait = self.pace.wait(now, GUESS) if self.left else math.inf
            assert wait >= 0
            if wait == 0:
                self.start(now)
                continue
            wake = now + wait + self.chance.uniform(0, LATEST)
            if self.events and self.events[0][0] <= wake:
                now, _, what = heapq.heappop(self.events)
                what(now)
            else:
                assert wake < math.inf, "nothing to wait for"
                now = wake
        return self.run

    def start(self, now: float) -> None:
        tokens = self.again.pop() if self.again else self.chance.uniform(*self.sizes)
        call = self.pace.start(now, GUESS)
        admitted, headers = self.server.call(now, tokens)
        self.left -= 1
        self.run.started.append((now, tokens))
        self.run.most = max(self.run.most, self.pace.in_flight)
        if admitted:
            units = tokens if self.server.unit == "tokens" else 1.0
            self.run.admitted.append((now, units, self.server.offered))
            self.at(self.end(now), lambda at: self.answer(at, call, headers, tokens))
        else:
            self.at(now + REFUSAL, lambda at: self.refuse(at, call, headers, tokens))

    def end(self, now: float) -> float:
        took = self.chance.uniform(*self.latency)
        if not self.free:
            return now + took
        slot = min(range(len(self.free)), key=self.free.__getitem__)
        self.free[slot] = max(now, self.free[slot]) + took
        return self.free[slot]

    def answer(self, now: float, call: Call, headers: Headers, tokens: float) -> None:
        self.run.answered.append(now)
        self.pace.answered(call, now, headers, tokens)

    def refuse(self, now: float, call: Call, headers: Headers, tokens: float) -> None:
        self.left += 1
        self.again.append(tokens)
        self.pace.limited(call, now, headers)
