"""The pace of an API that allows so many requests an hour and does not say when the hour is over.

No clock and no network are in here: every call is told the time. `tests/collect/test_hourly.py`
runs it against the three ways in which servers count: an hour that begins with its first request,
hours at fixed times, and any 3600 seconds."""

import math
from collections import deque

HOUR = 3600.0
"""Seconds that the limit is for."""

FIRST_PROBE, LAST_PROBE = 1 / 60, 1 / 12
"""Of an hour between tries while it is not known when it is over: one minute, then twice as long
each time, five at most."""

MARGIN = 1 / 3600
"""Of an hour that is waited longer than reckoned: clocks are not alike."""


class Pace:
    """When the next request may be made. Times are seconds since any fixed moment, such as
    `time.time()`, taken when the answer was there: the server counted the request before.

    Requests go out at once while the server says that some are left. When none is left, the next
    one is for the first of two moments: an hour after the oldest of the last `limit` requests,
    which is right for whatever way of counting if nobody else uses the key; and a whole number of
    hours after the server was last seen to allow requests again, which it does earlier where its
    hours begin at fixed times. Before that was ever seen, and when both were wrong, it is tried now
    and then."""

    def __init__(self, window: float = HOUR) -> None:
        self.window = window
        self.limit: int | None = None
        """Requests an hour; None before the server has said."""
        self.remaining: int | None = None
        """What was left of them at the last answer; None where the server does not say."""
        self.opened: float | None = None
        """When the server last allowed requests again after there were none."""
        self.refusals = 0
        """In a row."""
        self._last = -math.inf
        self._times: deque[float] = deque()
        """Of counted requests, for two hours: the server's may begin a little earlier than ours."""

    def answered(self, at: float, limit: int | None, remaining: int | None) -> None:
        """A request was counted; `limit` and `remaining` as the server said, None where not."""
        if self.remaining == 0:
            self.opened = at
        self.refusals, self._last = 0, at
        self.limit, self.remaining = limit or self.limit, remaining
        self._times.append(at)
        while self._times[0] < at - 2 * self.window:
            self._times.popleft()

    def refused(self, at: float, limit: int | None = None) -> None:
        """A request was refused because none is left."""
        self.refusals, self._last = self.refusals + 1, at
        self.limit, self.remaining = limit or self.limit, 0

    def wait(self, now: float) -> float:
        """Seconds until the next request may be made, at most an hour (a clock may be set back)."""
        if self.remaining != 0:
            return 0.0
        return min(max(0.0, self._next() - now), self.window * (1 + MARGIN))

    def opens_within(self, now: float) -> float:
        """Seconds in which the server will allow requests again, as far as that is known; until the
        next try where it is not."""
        at = min(self._sure(), self._again())
        return self.wait(now) if math.isinf(at) else max(0.0, at - now)

    def seconds_for(self, requests: float, now: float) -> float:
        """About how long so many further requests take: what is left of this hour is used at once,
        and so is each hour after it. Seconds; 0 while no limit is known."""
        later = requests - (self.remaining or 0)
        if not self.limit or self.remaining is None or later <= 0:
            return 0.0
        first = self.opens_within(now)
        if self.remaining > 0:
            begun = next((at for at in self._times if at > now - self.window), now)
            first = max(0.0, begun + self.window - now)
        return first + (math.ceil(later / self.limit) - 1) * self.window

    def _next(self) -> float:
        """When to try after the last try, if none was left then."""
        sure, again = self._sure(), self._again()
        if math.isinf(again) or (self.refusals and math.isinf(sure)):
            return min(sure, self._last + self._gap())
        return min(sure, again)

    def _sure(self) -> float:
        """An hour after the oldest of the last `limit` requests; never, when there were fewer in
        the last hour (others use the key too), or when that time was tried."""
        if not self.limit or len(self._times) < self.limit:
            return math.inf
        at = self._times[-self.limit] + self.window * (1 + MARGIN)
        return at if at > self._last else math.inf

    def _again(self) -> float:
        """The first whole number of hours after the server was last seen to allow requests again
        that was not tried yet; never, before that was seen."""
        if self.opened is None:
            return math.inf
        length = self.window * (1 + MARGIN)
        hours = max(1, math.floor((self._last - self.opened) / length) + 1)
        return self.opened + hours * length

    def _gap(self) -> float:
        return self.window * min(FIRST_PROBE * 2.0**self.refusals, LAST_PROBE)
