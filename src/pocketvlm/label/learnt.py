"""The limits that a server does not state: what its refusals show of them."""

import math
from collections import deque
from dataclasses import dataclass

from pocketvlm.limits import MINUTE

LATE = 0.05
"""Seconds that a timer may be late; what it missed is sent at once, no more."""

FIRST_PAUSE = 1.0
"""Seconds after the first refusal of a server of which nothing is known."""

LONGER = 1.33
"""Each pause that was too short is followed by one so much longer: 45 s without a word from the
server cost ten tries, and are overshot by 6 s on average."""

LOOK = 1 / 30
"""Of the longest time that the server stayed shut: no use in looking more often."""

FEW = 12
"""Calls that tell a rate; fewer only tell that the rate was too high."""

HASTE = 4.0
"""Requests at a rate of which little is known before a higher one is tried."""

STEADY, STEADY_SECONDS = 200, 30.0
"""Requests at a rate, and seconds, before a higher one is tried in earnest: a try costs two or
three refusals."""

DOUBLING = 12.0
"""Seconds in which a rate at most doubles: a bucket of a minute hides for long that it empties."""

RECENT = 5.0
"""Seconds whose starts tell the present rate: in less, one burst would."""

CLIMB, CLIMBED = 1.2, 0.9
"""Where the rate rose by the first in a cycle, its end tells more than its mean: that share of
the last rate is believed."""

MILD = 0.8
"""Of an estimate: a correction that leaves so much of it does not shake it."""

NUDGE = 0.02
"""Power of a cycle's calls over those it should have had: cycles grow too long where the estimate
is low, and too short where it is high."""


@dataclass(slots=True, eq=False)
class Call:
    """A call that is out; `Pace.start` makes it, and the method that says how it ended takes it."""

    started: float
    """Seconds."""
    tokens: float
    """What it was expected to take."""
    load: int
    """Calls in flight as it began, itself among them."""
    cycle: int
    """Of `Learnt`: refusals of an earlier one are stale."""
    round: int
    """Of `Window`: answers of an earlier one say nothing about the present size."""


class Meter:
    """A leaky bucket: what was sent counts as debt, which the rate pays off; no debt, no wait."""

    def __init__(self) -> None:
        self.rate: float | None = None
        """Units a second; None lets everything through."""
        self.debt = 0.0
        """Units; negative by what a late timer may catch up."""
        self.idle = True
        """Whether nothing waited for this meter: another limit is tighter."""
        self._at = -math.inf

    def settle(self, now: float, rate: float | None) -> None:
        """Pay off what the time since has earned, then go on at `rate`. An idle stretch earns
        nothing for later: a burst would meet the limit as a whole."""
        if self.rate is not None and now > self._at:
            self.debt -= self.rate * (now - self._at)
            self.idle = self.debt < -LATE * self.rate
            if self.idle:
                self.debt = 0.0
        self.rate, self._at = rate, max(self._at, now)

    def wait(self) -> float:
        """Seconds until nothing is owed, from the moment last settled."""
        return max(0.0, self.debt / self.rate) if self.rate else 0.0

    def charge(self, units: float) -> None:
        """Owe so many units more."""
        if self.rate is not None:
            self.debt += units


@dataclass(slots=True)
class Blockade:
    """From a refusal until a call is admitted again; one call at a time looks whether it is."""

    began: float
    """Start of the first call that was refused, seconds."""
    shut: float
    """Start of the last one."""
    pause: float
    """Seconds before the next look, unless the server asked for more."""
    told: bool = False
    """Whether it did."""
    probe: Call | None = None
    """The call that looks."""


class Learnt:
    """A limit that only refusals show.

    A cycle lasts from the moment that the server admits calls again to the next such moment. What
    it admitted in between, over the cycle's length, is its rate: of a bucket, which is empty at
    both ends, and of a window, which gave all it had. So one cycle tells the rate as exactly as
    it has calls; the more it has, the more requests pass before a higher rate is tried."""

    def __init__(self) -> None:
        self.cycle = 0
        """Number of the present one: what calls of earlier ones meet is stale."""
        self.meter = Meter()
        self.until = 0.0
        """Seconds: nothing starts before."""
        self._estimate: float | None = None
        self._patience = float(STEADY)  # requests of a turn
        self._turn = 0.0  # turns since the estimate
        self._since = 0.0  # the cycle's begin, and what was admitted since
        self._admitted = 0
        self._recent: deque[float] = deque()  # starts
        self._blockade: Blockade | None = None
        self._longest = 0.0  # seconds of a blockade whose end the server did not tell
        self._refusal = 0.0  # seconds until a refusal is back

    @property
    def rate(self) -> float | None:
        """Requests a second; None before the first refusal. It stays near the estimate for a turn,
        is a third above it after two, twice as high after two and a half, and so on."""
        if self._estimate is None:
            return None
        turn = self._turn
        return float(
            self._estimate * (1 + (turn + turn**5) / 100 if turn < 2.5 else 2 ** (turn / 2.5))
        )

    def settle(self, now: float) -> None:
        """Learn from a probe that was not refused in time."""
        shut = self._blockade
        if shut is None or shut.probe is None or now < self.until:
            self.meter.settle(now, self.rate)
            return
        self._learn(shut, shut.probe)
        self.meter.settle(now, self.rate)
        self.meter.debt = max(0.0, 1 - (self.rate or 0.0) * (now - shut.probe.started))

    def restart(self) -> None:
        """What is out tells nothing: another limit has become known since."""
        self.cycle += 1
        self._admitted, self._blockade = 0, None
        self._recent.clear()

    def started(self, call: Call) -> None:
        """A call has begun."""
        if self._blockade is not None:
            self._blockade.probe = call
            self.until = call.started + 2 * self._refusal  # until its fate is known
            return
        if not self._admitted:
            self._since = call.started
        if self.meter.rate and not self.meter.idle:
            self._turn += 1 / max(self._patience, DOUBLING / 2.5 * self.meter.rate)
        self.meter.charge(1)
        self._count(call)

    def refused(self, call: Call, now: float, asked: float) -> None:
        """A call met the limit; `asked`: seconds that the server wants to be left alone."""
        if call.cycle != self.cycle:
            return
        self._refusal = min(now - call.started, FIRST_PAUSE)  # it may have waited to be sent
        shut = self._blockade
        if shut is None:
            pause = 1 / self.rate if self.rate else FIRST_PAUSE
            pause = max(pause, 2 * self._refusal, LOOK * self._longest)
            shut = self._blockade = Blockade(call.started, call.started, pause)
            self._admitted -= 1
        elif call is shut.probe:
            shut.probe, shut.shut, shut.pause = None, call.started, min(shut.pause * LONGER, MINUTE)
        else:
            self._admitted -= 1
            return
        shut.told = asked > shut.pause
        self.until = now + max(asked, shut.pause)

    def _learn(self, shut: Blockade, probe: Call) -> None:
        """The probe came through: the cycle is over and tells the rate."""
        if self._admitted:  # otherwise others had used it up, and nothing is known
            opened = probe.started
            if not shut.told:
                opened = (shut.shut + probe.started) / 2
                self._longest = max(self._longest, min(opened - shut.began, MINUTE))
            self._estimate = self._judge(opened - self._since, shut.began - self._since)
        if self._admitted >= FEW or not self._admitted:
            self._since, self._admitted = probe.started, 0
        self.cycle += 1
        probe.cycle = self.cycle
        self._turn, self._blockade = 0.0, None
        self._recent.clear()
        self._count(probe)

    def _judge(self, length: float, sending: float) -> float:
        """The new estimate, and how long it is left alone."""
        estimate, before = self._measure(length, sending), self._estimate
        patience = max(STEADY, estimate * max(STEADY_SECONDS, self._longest))
        estimate *= math.pow((self._admitted + 1) / patience, NUDGE)
        if before is None:  # a start from nothing tells little
            self._patience = max(HASTE, estimate * self._longest)
            return estimate
        if self._admitted < FEW:
            estimate = max(min(estimate, before), before / 2)
        least = self._patience if estimate > MILD * before else HASTE
        self._patience = min(max(least, 2.0 * self._admitted), patience)
        return estimate

    def _measure(self, length: float, sending: float) -> float:
        """Requests a second, from a cycle's length and the seconds in it before the refusal."""
        length = max(length, 1e-3)
        mean = (self._admitted + 1) / length
        if self._estimate is None or self.rate is None:
            last = len(self._recent) / min(RECENT, max(sending, 1e-3))
        elif self.rate > CLIMB * self._estimate:
            last = self.rate
        else:
            return mean
        end = CLIMBED * last * sending / length
        return max(mean, end if sending > CLIMBED * length else math.sqrt(mean * end))

    def _count(self, call: Call) -> None:
        self._admitted += 1
        self._recent.append(call.started)
        while self._recent[0] < call.started - RECENT:
            self._recent.popleft()
