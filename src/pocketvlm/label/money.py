"""What a run costs: priced before it, capped while it runs."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from pocketvlm.config import Config, price_line
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.keys import LOOPBACK, check_address
from pocketvlm.label.ledger import Ledger
from pocketvlm.label.prompt import answer_schema, build_prompt
from pocketvlm.prices import (
    FREE,
    KNOWN,
    Claude,
    Fixed,
    GeminiTiles,
    Mistral,
    OpenAIPatches,
    Price,
    Qwen,
)
from pocketvlm.teachers import Teacher
from pocketvlm.workspace import Row

FRAME = 50
"""Tokens of roles and separators around a message; OpenAI's cookbook counts 3 to 7 a message."""

USUAL_ANSWER = 125
"""Tokens of an answer in the form that the prompt asks for, before any has been seen: short and
full ones, on one line and indented, come to 86 to 164 in OpenAI's cl100k_base."""

LETTERS = 4
"""Bytes of English a token: prompt and schema together come to 4.05 in cl100k_base."""

ROUNDING = 1e-9
"""USD that sums of many small amounts may be off by."""


class BudgetReached(PocketError):
    """The next call could cost more than is left."""


@dataclass(frozen=True)
class Tariff:
    """What one teacher's calls cost."""

    teacher: Teacher
    price: Price
    text: int
    """Bytes of prompt and schema."""

    @classmethod
    def of(cls, config: Config, teacher: Teacher) -> "Tariff":
        """ConfigError when the price is not known, or not in batches where those are wanted."""
        price = price_of(config, teacher)
        if teacher.batch and not price.has_batches:
            raise ConfigError(
                f"no price is known for batches of {teacher.model!r}: set `batch` in its line "
                "below `prices:` (1 for the full price), or batch: false for that teacher"
            )
        schema = json.dumps(answer_schema(config.task)) if teacher.structured else ""
        text = len((build_prompt(config.task) + schema).encode())
        return cls(teacher, price, text)

    def tokens(self, size: tuple[int, int]) -> tuple[int, int]:
        """Tokens in and out that a call about a picture of `size` pixels will probably take.

        Thoughts count as output and may fill all that an answer is allowed."""
        image = self.price.image.count(*shrunk(size, self.teacher.max_side))
        thinks = self.teacher.reasoning_effort not in (None, "none")
        answer = self.teacher.max_tokens if thinks else min(USUAL_ANSWER, self.teacher.max_tokens)
        return self.text // LETTERS + FRAME + image, answer

    def worst(self, size: tuple[int, int], batch: bool = False) -> float:
        """USD that no call exceeds: a token is at least one byte, an answer at most `max_tokens`,
        and the picture may lie on its side (its EXIF says how it is turned)."""
        width, height = shrunk(size, self.teacher.max_side)
        image = max(self.price.image.count(*way) for way in ((width, height), (height, width)))
        return self.price.usd(self.text + FRAME + image, self.teacher.max_tokens, batch=batch)

    def paid(self, answer: Row, worst: float, batch: bool = False) -> float:
        """USD of a call that came back: by its usage, or the worst where that is not told."""
        tokens_in, tokens_out = answer.get("tokens_in"), answer.get("tokens_out")
        if tokens_in is None or tokens_out is None:
            return worst
        return self.price.usd(tokens_in, tokens_out, batch=batch)


def shrunk(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Width and height of a picture of `size` pixels as it is sent: Pillow's `thumbnail` keeps the
    shape as well as whole pixels can."""
    width, height = size
    if max(size) <= side:
        return size
    shape = width / height
    if shape <= 1:
        ways = (math.floor(side * shape), math.ceil(side * shape))
        return max(1, min(ways, key=lambda w: abs(shape - w / side))), side
    ways = (math.floor(side / shape), math.ceil(side / shape))
    return side, max(1, min(ways, key=lambda h: abs(shape - side / h) if h else 0.0))


def price_of(config: Config, teacher: Teacher) -> Price:
    """The price of a teacher's model. A server on this machine is free, unless its model has a
    price, known or configured: what listens there may be a proxy, and somebody pays behind it.
    ConfigError for any other model without a price."""
    if teacher.model in config.prices:
        return config.prices[teacher.model]
    host = check_address(teacher.base_url)
    if host in LOOPBACK:
        return FREE
    raise ConfigError(
        f"the price of {teacher.model!r} at {host} is not known. Paste this into pocketvlm.yaml "
        "(without its first line where `prices:` stands there already) and correct it: USD a "
        "million tokens, here the dearest that are known; 0 and 0 for a server of your own.\n"
        f"prices:\n  {price_line(teacher.model, _dearest(teacher, host))}"
    )


def _dearest(teacher: Teacher, host: str) -> Price:
    """What stands in for a price that is not known: left as it is, it is rather too high."""
    rules = (OpenAIPatches(), Claude(), GeminiTiles(), Qwen(), Mistral())
    return Price(
        input_usd=max(price.input_usd for price in KNOWN.values()),
        output_usd=max(price.output_usd for price in KNOWN.values()),
        batch=None,
        image=Fixed(tokens=max(rule.count(teacher.max_side, teacher.max_side) for rule in rules)),
        source=f"https://{host}",
        date=date.today(),
    )


def price_words(price: Price) -> str:
    """A price for people, with where it is from."""
    if not price.input_usd and not price.output_usd:
        return "free"
    words = f"{price.input_usd:g} USD a million tokens in, {price.output_usd:g} out"
    return f"{words} ({price.source}, {price.date})"


def usd_words(usd: float) -> str:
    """An amount for people: cents, or three digits of what is less than a dime."""
    if usd >= 0.0995 or usd < ROUNDING:
        return f"{usd:,.2f} USD"
    decimals = 2 - math.floor(math.log10(usd))
    return f"{usd:.{decimals}f}".rstrip("0") + " USD"


class Budget:
    """The hard cap over everything in the ledger: spent, in flight, and what calls killed in
    flight may have cost.

    Every call reserves its worst case before it starts. A server that bills more all the same (one
    that does not keep to `max_tokens`, or a wrong rule for pictures) is found out by its first such
    answer: from then on every call reserves so many times more."""

    def __init__(self, cap: float | None, ledger: Ledger) -> None:
        self.cap, self.ledger = cap, ledger
        self.claimed = 0.0
        """USD reserved by calls whose intent is not in the ledger yet."""

    @property
    def possible(self) -> float:
        """USD that calls without an answer may cost, or have cost."""
        return (self.ledger.reserved + self.claimed) * self.ledger.overrun

    @property
    def used(self) -> float:
        """USD spent or reserved."""
        return self.ledger.spent + self.possible

    @property
    def left(self) -> float:
        """USD that may still be reserved; infinite without a cap."""
        return math.inf if self.cap is None else max(0.0, self.cap - self.used)

    def allows(self, usd: float) -> bool:
        """Whether a call that may cost `usd` stays within the cap."""
        return usd * self.ledger.overrun <= self.left + ROUNDING

    def reached(self, usd: float, left: int) -> BudgetReached:
        """Why asking stops before a call that may cost `usd`, with `left` questions to go."""
        cap, cost = self.cap or 0.0, usd_words(usd * self.ledger.overrun)
        if not self.used:
            return BudgetReached(
                f"label.budget_usd of {cap:g} USD is less than one call may cost "
                f"({cost}): nothing was asked; raise it, or lower max_side or max_tokens of that "
                "teacher"
            )
        possible = ""
        if self.possible > ROUNDING:
            possible = f", calls that were cut off may have cost {usd_words(self.possible)}"
        more = ""
        if self.ledger.overrun > 1 + ROUNDING:
            more = (
                f" (an answer cost {self.ledger.overrun:.1f} times what its request allowed: "
                "compare the teacher's price and picture rule with its bill)"
            )
        return BudgetReached(
            f"label.budget_usd of {cap:g} USD is reached: "
            f"{usd_words(self.ledger.spent)} spent{possible}, {usd_words(self.left)} left, and the "
            f"next call may cost {cost}{more}. What is answered is kept; {left} questions are "
            "left: see `pocketvlm estimate`, raise label.budget_usd and run the same command"
        )


def sizes_of(pictures: Iterable[Row]) -> list[tuple[int, int]]:
    """Width and height of collected pictures."""
    return [(int(picture["width"]), int(picture["height"])) for picture in pictures]
