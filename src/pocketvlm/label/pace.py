"""How fast to ask a teacher, learnt from what comes back.

No clock and no waiting in here: every method is told `now`, seconds that only grow. Three things
hold calls back, and the tightest of them counts: limits that are configured or that headers state,
a limit that only refusals show, and the number of calls in flight. Calls are sent evenly, which
suits buckets that refill as well as windows of any length."""

import math
from collections.abc import Mapping

from pocketvlm.label.learnt import Call, Learnt, Meter
from pocketvlm.limits import MINUTE, Kind, read_limit, retry_after

__all__ = ["Call", "Pace"]

SHARE = 0.98
"""Of a stated limit: room for the server's clock and for uneven ways through the network."""

NEWS = 0.8
"""Of a stated limit: one that falls below explains refusals, and they teach nothing else."""

FIRST_WINDOW = 4
"""Calls in flight at the start: any server takes them."""

RISE = 1.3
"""Twice the calls in flight must bring so much throughput; chance rarely does in one round. Where
it brings less, so many more calls would have been enough."""

ROUND = 6
"""Answers of a round at least: fewer say little about the throughput."""

FULL = 0.75
"""Of the window: with so many calls in flight it is what holds calls back."""

REST = 20.0
"""Seconds before more calls in flight are tried again, twice as many after each try in vain:
chance is found out soon, and servers grow and queues shorten later."""

SPREAD = 2.0
"""Times the throughput: no faster do calls start when the window has grown. A limit would refuse
most of a burst before the first refusal is back."""


COVER = 1.5
"""Times the calls that a stated limit keeps in flight: answers take longer at times."""

TROUBLE, LATELY = 0.2, 16
"""A larger share of the last calls without an answer means that the server has too many; fewer are
the faults of any network, and no reason to ask less."""


class Window:
    """How many calls may be in flight: twice as many for as long as that brings throughput."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.size = float(min(FIRST_WINDOW, most))
        self.round = 0
        """Number of the present one; every change of the size begins another."""
        self.meter = Meter()
        self._latency = 0.0
        self._answers = 0
        self._load = 0
        self._took = 0.0
        self._cut = -math.inf
        self._regain = 0.0
        self._rest = -math.inf
        self._before: tuple[float, float] | None = None
        self._spare, self._pause = RISE, REST
        self._trouble = 0.0
        self._covered = False

    def settle(self, now: float) -> None:
        """Bring the meter up to now."""
        self.meter.settle(now, SPREAD * self.size / self._latency if self._latency else None)

    def answered(self, call: Call, now: float, in_flight: int) -> None:
        """An answer came; it counts for the round when the window was what held calls back."""
        took = max(now - call.started, 1e-3)
        self._latency += (took - self._latency) / 8 if self._latency else took
        self._trouble -= self._trouble / LATELY
        if call.round != self.round or in_flight < FULL * self.size:
            return
        self._answers += 1
        self._load += call.load
        self._took += took
        if self._answers >= max(self.size, ROUND):
            self._end_round(now, self._load / self._took)

    def cover(self, rate: float) -> None:
        """A limit is known, `rate` calls a second: as many in flight as that takes, at once. Only
        the first time; what the server bears shows from then on."""
        if not self._covered and self._latency:
            self._covered = True
            self._resize(max(self.size, COVER * rate * self._latency))

    def troubled(self, call: Call, now: float) -> None:
        """Halve when it happens often, once for all calls that were out."""
        self._trouble += (1 - self._trouble) / LATELY
        if self._trouble > TROUBLE and call.started >= self._cut:
            self._cut, self._rest, self._before = now, now + self._pause, None
            self._regain = self.size
            self._resize(self.size / 2)

    def _end_round(self, now: float, throughput: float) -> None:
        size, before = self.size, self._before
        self._before = None
        if before is not None and throughput < RISE * before[1]:
            size = before[0] * self._spare
            self._spare, self._rest, self._pause = 1.0, now + self._pause, 2 * self._pause
        elif size < self._regain:
            size += 1
        elif now >= self._rest and size < self.most:
            self._before = (size, throughput)
            size *= 2
        self._resize(size)

    def _resize(self, size: float) -> None:
        self.size = min(max(1.0, size), float(self.most))
        self.round += 1
        self._answers, self._load, self._took = 0, 0, 0.0


class Pace:
    """When the next call may start: ask `wait`, then `start` it, then say how it ended."""

    def __init__(
        self,
        most: int,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> None:
        self.in_flight = 0
        """Calls that have begun and not ended."""
        self.paused_until = 0.0
        """Seconds, as `now` counts them: nothing starts before, because the server said so."""
        self._window, self._learnt = Window(most), Learnt()
        self._given: dict[Kind, float | None] = {
            "requests": requests_per_minute,
            "tokens": tokens_per_minute,
        }
        self._meters: dict[Kind, Meter] = {"requests": Meter(), "tokens": Meter()}
        self._rates: dict[Kind, float | None] = {kind: self._allowed(kind) for kind in self._meters}
        self._tokens = 0.0

    @property
    def window(self) -> int:
        """Calls that may be in flight at present."""
        return int(self._window.size)

    @property
    def limit(self) -> float | None:
        """Requests a second that are allowed at present; None while no limit is known."""
        return min((rate for rate in (self._known(), self._learnt.rate) if rate), default=None)

    def wait(self, now: float, tokens: float) -> float:
        """Seconds until a call of about `tokens` tokens may start; infinite: an answer comes first.

        It may start once what was sent before is paid off; its own tokens count afterwards, so
        that a call larger than the whole limit is sent too."""
        if self.in_flight >= self.window:
            return math.inf
        return max(
            0.0,
            self.paused_until - now,
            self._learnt.until - now,
            *(meter.wait() for meter in self._settled(now)),
        )

    def start(self, now: float, tokens: float) -> Call:
        """A call of about `tokens` tokens has begun."""
        self.in_flight += 1
        self._tokens += (tokens - self._tokens) / 8 if self._tokens else tokens
        self._settled(now)
        call = Call(now, tokens, self.in_flight, self._learnt.cycle, self._window.round)
        self._learnt.started(call)
        self._window.meter.charge(1)
        self._meters["requests"].charge(1)
        self._meters["tokens"].charge(tokens)
        return call

    def answered(
        self, call: Call, now: float, headers: Mapping[str, str], tokens: float | None
    ) -> None:
        """Any reply but a refusal; `tokens` that it really took, None when it does not say."""
        self._window.answered(call, now, self.in_flight)
        self.in_flight -= 1
        self._read(call, now, headers, 1.0)
        if known := self._known():
            self._window.cover(known)
        if tokens is not None:
            self._meters["tokens"].charge(tokens - call.tokens)

    def limited(self, call: Call, now: float, headers: Mapping[str, str]) -> None:
        """Status 429: slower, and nobody asks before the server wants to be asked."""
        self.in_flight -= 1
        self._read(call, now, headers, call.tokens)
        self.paused_until = max(self.paused_until, now + (retry_after(headers) or 0.0))
        self._learnt.refused(call, now, self.paused_until - now)

    def troubled(self, call: Call, now: float) -> None:
        """No answer in time, a cut connection or status 5xx: half as many calls in flight."""
        self.in_flight -= 1
        self._window.troubled(call, now)

    def ended(self, call: Call, now: float) -> None:
        """The call was never sent: what it was to take is free again."""
        self.in_flight -= 1
        self._settled(now)
        self._meters["requests"].charge(-1)
        self._meters["tokens"].charge(-call.tokens)

    def _settled(self, now: float) -> list[Meter]:
        """All meters, up to now."""
        self._window.settle(now)
        self._learnt.settle(now)
        for kind, meter in self._meters.items():
            meter.settle(now, self._rates[kind])
        return [*self._meters.values(), self._learnt.meter, self._window.meter]

    def _known(self) -> float | None:
        """Calls a second that configuration and headers allow; None where neither says."""
        requests, tokens = self._rates["requests"], self._rates["tokens"]
        calls = tokens / self._tokens if tokens and self._tokens else None
        return min((rate for rate in (requests, calls) if rate), default=None)

    def _allowed(self, kind: Kind, stated: float | None = None) -> float | None:
        """Units a second, somewhat below the tighter of what is configured and what is stated."""
        given = self._given[kind]
        rates = [given / MINUTE if given else None, stated]
        return min((SHARE * rate for rate in rates if rate), default=None)

    def _read(self, call: Call, now: float, headers: Mapping[str, str], tokens: float) -> None:
        """What the headers state; a limit that is news says why earlier calls are refused."""
        for kind, meter in self._meters.items():
            stated = read_limit(headers, kind, tokens if kind == "tokens" else 1.0)
            self.paused_until = max(self.paused_until, call.started + stated.closed)
            before, rate = self._rates[kind], self._allowed(kind, stated.rate)
            if stated.rate is None or rate is None or rate == before:
                continue
            self._rates[kind] = rate
            meter.settle(now, rate)
            if before is None:  # what is in flight was not counted
                meter.charge(call.tokens if kind == "tokens" else 1.0)
            if before is None or rate < NEWS * before:
                self._learnt.restart()
