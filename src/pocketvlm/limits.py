"""The limits that a server states in its headers, read without trust."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Literal

Kind = Literal["requests", "tokens"]
"""What is counted."""

MINUTE = 60.0
"""Seconds that a limit stands for when the headers do not say."""

LONG_RESET = 75.0
"""Seconds: a bucket of a minute cannot take longer to fill, with some room for slow clocks. A
longer reset belongs to another period (Groq: requests a day) and tells the refill itself."""

WINDOW_RESET = 0.9
"""Of the time that a bucket takes to fill from what remains. A reset well before that is a
window's, in which nothing more is admitted; in a bucket, even pacing is enough."""

LONGEST_TEXT = 64
"""Characters of a header worth reading."""

Names = tuple[str, str, str]
"""Of the headers with a limit, what remains of it, and when it is whole again."""


def _names(pattern: str) -> Names:
    return pattern.format("limit"), pattern.format("remaining"), pattern.format("reset")


FAMILIES: dict[Kind, tuple[Names, ...]] = {
    "requests": (_names("x-ratelimit-{}-requests"), _names("anthropic-ratelimit-requests-{}")),
    "tokens": (
        _names("x-ratelimit-{}-tokens"),
        _names("anthropic-ratelimit-tokens-{}"),
        _names("anthropic-ratelimit-input-tokens-{}"),
    ),
}
"""The headers of OpenAI and those who follow it, and of Anthropic."""

OUTPUT = _names("anthropic-ratelimit-output-tokens-{}")
"""It only says when nothing is left: a call's tokens are mostly its picture and prompt."""

SECONDS = {
    "d": Decimal(86400),
    "h": Decimal(3600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("1e-3"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "ns": Decimal("1e-9"),
}
"""Of a duration's units."""


PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|d|h|m|s)", re.ASCII)
NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
QUOTA = re.compile(r"(\d+)\s*;[^,]*\bw=(\d+)", re.ASCII)


@dataclass(frozen=True)
class Stated:
    """What one answer's headers say of one kind of limit."""

    rate: float | None
    """Units a second that are allowed; None when they do not say."""
    closed: float
    """Seconds from the call's start in which no other call is admitted; 0 when some are."""


def read_limit(headers: Mapping[str, str], kind: Kind, need: float = 1.0) -> Stated:
    """The tightest of what the known headers say; `need`: units that a call takes."""
    found = [_read(headers, names, need) for names in FAMILIES[kind]]
    if kind == "requests":
        found.append(_read_draft(headers))
    else:
        found.append(Stated(None, _read(headers, OUTPUT, 1.0).closed))
    rates = [one.rate for one in found if one.rate is not None]
    return Stated(min(rates, default=None), max(one.closed for one in found))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a reply asks to wait (retry-after-ms, or Retry-After in seconds or as a date);
    None when it does not say."""
    exact = _number(headers.get("retry-after-ms"))
    return _wait(headers, "retry-after") if exact is None else exact / 1000


def duration(text: str) -> float | None:
    """Seconds of `20ms`, `6m0s`, `2m59.56s` or a bare number of seconds; None for anything else."""
    number, text = _number(text), text.strip()
    if number is not None or len(text) > LONGEST_TEXT:
        return number
    parts = PART.findall(text)
    if not parts or "".join(value + unit for value, unit in parts) != text:
        return None
    return float(sum(Decimal(value) * SECONDS[unit] for value, unit in parts))


def _read(headers: Mapping[str, str], names: Names, need: float) -> Stated:
    """One family of headers; a limit counts for a minute unless its reset shows otherwise."""
    limit, remaining = _number(headers.get(names[0])), _number(headers.get(names[1]))
    reset = _wait(headers, names[2])
    rate = limit / MINUTE if limit else None
    if reset is None or remaining is None:
        return Stated(rate, 0.0)
    if not limit:
        return Stated(None, reset if remaining < need else 0.0)
    if reset > LONG_RESET and remaining < limit:
        refill = (limit - remaining) / reset
        return Stated(max(refill, remaining / MINUTE), 0.0)
    window = reset < WINDOW_RESET * MINUTE * (1 - remaining / limit)
    return Stated(rate, reset if window and remaining < need else 0.0)


def _read_draft(headers: Mapping[str, str]) -> Stated:
    """The IETF draft's: a rate only where the window's length stands beside the quota."""
    rates = []
    for name in ("ratelimit-limit", "ratelimit-policy"):
        for quota, window in QUOTA.findall(headers.get(name, "")[:LONGEST_TEXT]):
            if int(quota) and int(window):
                rates.append(int(quota) / int(window))
    remaining = _number(headers.get("ratelimit-remaining"))
    reset = _wait(headers, "ratelimit-reset")
    return Stated(min(rates, default=None), reset or 0.0 if remaining == 0 else 0.0)


def _wait(headers: Mapping[str, str], name: str) -> float | None:
    """Seconds, from a duration or from a date less the answer's own Date: our clock may differ."""
    text = headers.get(name)
    if not text:
        return None
    seconds = duration(text)
    if seconds is None:
        then, sent = _date(text), _date(headers.get("date", ""))
        if then is not None and sent is not None:
            seconds = max(0.0, (then - sent).total_seconds())
    return seconds


def _date(text: str) -> datetime | None:
    """An RFC 3339 time or HTTP date; None for anything else, also for one without a zone."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(text[:LONGEST_TEXT].strip())
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        if moment.tzinfo is not None:
            return moment
    return None


def _number(text: str | None) -> float | None:
    """A plain number that is not negative; None for anything else."""
    if not text or len(text) > LONGEST_TEXT:
        return None
    text = text.strip()
    return float(text) if NUMBER.fullmatch(text) else None
