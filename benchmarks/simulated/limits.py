"""What a simulated teacher lets in, and the accounts it keeps of who was asked what."""

import math
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["none", "bucket", "window"]


class Bucket:
    """Fills evenly up to what `seconds` bring; a full one lets a burst through."""

    def __init__(self, a_minute: float, seconds: float, now: float) -> None:
        self.rate, self.limit = a_minute / 60, a_minute / 60 * seconds
        self.minute = a_minute
        self.level, self.at = self.limit, now

    def left(self, now: float) -> float:
        """How much may be taken."""
        self.level = min(self.limit, self.level + (now - self.at) * self.rate)
        self.at = now
        return self.level

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` may be taken; more than fits is let through by a full bucket."""
        return max(0.0, (min(amount, self.limit) - self.left(now)) / self.rate)

    def take(self, amount: float, now: float) -> None:
        """Take it; `wait` was 0."""
        self.level = self.left(now) - amount

    def reset(self, now: float) -> float:
        """Seconds until it is full."""
        return (self.limit - self.left(now)) / self.rate


class Window:
    """So much within each `seconds`, counted from the first request; then all is new."""

    def __init__(self, a_minute: float, seconds: float, now: float) -> None:
        self.limit, self.seconds = a_minute / 60 * seconds, seconds
        self.minute = a_minute
        self.start, self.used = now, 0.0

    def left(self, now: float) -> float:
        """How much may be taken."""
        passed = (now - self.start) // self.seconds
        if passed:
            self.start, self.used = self.start + passed * self.seconds, 0.0
        return self.limit - self.used

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` may be taken; more than fits is let through by a new window."""
        return self.reset(now) if min(amount, self.limit) > self.left(now) else 0.0

    def take(self, amount: float, now: float) -> None:
        """Take it; `wait` was 0."""
        self.used += amount

    def reset(self, now: float) -> float:
        """Seconds until the next window."""
        self.left(now)
        return self.start + self.seconds - now


class Gate:
    """The limits of one model: requests a minute, tokens a minute, or neither."""

    def __init__(
        self, kind: Kind, seconds: float, limits: dict[str, float | None], now: float
    ) -> None:
        make = Window if kind == "window" else Bucket
        self.limits: dict[str, Bucket | Window] = {
            name: make(limit, seconds, now)
            for name, limit in limits.items()
            if limit and kind != "none"
        }

    def admit(self, amounts: dict[str, float], now: float) -> tuple[float, str]:
        """(0, "") and the amounts are taken, or the seconds to wait and which limit is reached."""
        waits = {name: limit.wait(amounts[name], now) for name, limit in self.limits.items()}
        which = max(waits, key=lambda name: waits[name], default="")
        if which and waits[which] > 0:
            return waits[which], which
        for name, limit in self.limits.items():
            limit.take(amounts[name], now)
        return 0.0, ""

    def headers(self, now: float) -> dict[str, str]:
        """OpenAI's x-ratelimit headers: they speak of a minute, also where less than a minute's
        worth is let through at a time."""
        told = {}
        for name, limit in self.limits.items():
            remaining = limit.minute - limit.limit + limit.left(now)
            told[f"x-ratelimit-limit-{name}"] = str(math.floor(limit.minute))
            told[f"x-ratelimit-remaining-{name}"] = str(max(0, math.floor(remaining)))
            told[f"x-ratelimit-reset-{name}"] = duration(limit.reset(now))
        return told


def duration(seconds: float) -> str:
    """A time as OpenAI writes it: 12ms, 8.64s, 6m0s."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    return f"{minutes:.0f}m{rest:g}s" if minutes else f"{rest:g}s"


@dataclass
class Account:
    """One picture, one model, one way to ask."""

    asked: int = 0
    limited: int = 0
    """Refused with 429."""
    admitted: int = 0
    errors: int = 0
    """Answered with 500: not billed."""
    sent: int = 0
    """Answers that went out whole: billed."""
    lost: int = 0
    """Answers that were made and did not arrive: cut, or the client was gone."""
    prompt_tokens: int = 0
    """Of the billed answers."""
    completion_tokens: int = 0


class Accounts:
    """All that happened."""

    def __init__(self) -> None:
        self.rows: defaultdict[tuple[str, str, bool], Account] = defaultdict(Account)
        self.begun: float | None = None
        self.seconds: list[list[int]] = []
        """Requests and tokens admitted in each second since the first."""
        self.inside = self.busiest = 0

    def admit(self, account: Account, tokens: int, now: float) -> None:
        """Count a request that was let in."""
        account.admitted += 1
        self.begun = now if self.begun is None else self.begun
        second = int(now - self.begun)
        self.seconds += [[0, 0] for _ in range(second + 1 - len(self.seconds))]
        self.seconds[second][0] += 1
        self.seconds[second][1] += tokens
        self.inside += 1
        self.busiest = max(self.busiest, self.inside)

    def bill(self, account: Account, tokens: tuple[int, int]) -> None:
        """Count an answer that arrived."""
        account.sent += 1
        account.prompt_tokens += tokens[0]
        account.completion_tokens += tokens[1]

    def report(self) -> dict[str, Any]:
        """As JSON: `total`, `rows`, `timeline`, `busiest`."""
        rows: list[dict[str, Any]] = [
            {"picture": picture, "model": model, "batch": batch, **asdict(account)}
            for (picture, model, batch), account in self.rows.items()
        ]
        total = {name: sum(row[name] for row in rows) for name in asdict(Account())}
        return {
            "total": total,
            "pictures": len({row["picture"] for row in rows}),
            "rows": rows,
            "timeline": [{"requests": one, "tokens": two} for one, two in self.seconds],
            "busiest": self.busiest,
        }
