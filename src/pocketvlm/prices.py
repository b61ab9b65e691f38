"""What a call to a vision teacher costs: the tokens of a picture, and the price of tokens.

A picture is charged as tokens, and every provider counts them in its own way: one class below for
each rule, with the page it is taken from. `prices.yaml` holds what is known today; the user's
`prices` go over it. A count is never below the bill as far as the provider's pages and published
bills tell: where they leave a choice, the larger one is taken. The words around the picture
are not part of it.
"""

import datetime
import math
from abc import abstractmethod
from importlib import resources
from typing import Annotated, Literal, Self

import yaml
from pydantic import Field, TypeAdapter, model_validator

from pocketvlm.errors import ConfigError
from pocketvlm.sections import Section


class ImageTokens(Section):
    """A provider's rule for the tokens of one picture, as it is sent."""

    @abstractmethod
    def count(self, width: int, height: int) -> int:
        """Input tokens, at most, of a picture of `width` x `height` pixels (both 1 or more)."""


class Fixed(ImageTokens):
    """The same for every picture. Gemini 3: `media_resolution` unspecified allots at most 1120
    (https://ai.google.dev/gemini-api/docs/media-resolution; bills of 1056 to 1089 are reported)."""

    rule: Literal["fixed"] = Field("fixed", description="The same for every picture.")
    tokens: int = Field(ge=1, description="Tokens of a picture, whatever its size.")

    def count(self, width: int, height: int) -> int:
        return self.tokens


class OpenAITiles(ImageTokens):
    """GPT-4o, GPT-4.1: tiles of 512 px after shrinking to 2048 px and to 768 px for the short side
    (https://developers.openai.com/api/docs/guides/images-vision#tile-based-image-tokenization,
    `detail` high or auto)."""

    rule: Literal["openai-tiles"] = Field("openai-tiles", description="Tiles of 512 px.")
    base: int = Field(85, ge=1, description="Tokens of any picture (85, 2833 with gpt-4o-mini).")
    tile: int = Field(170, ge=0, description="Tokens a tile (170, 5667 with gpt-4o-mini).")

    def count(self, width: int, height: int) -> int:
        long, short = max(width, height), min(width, height)
        if short * 2048 > 768 * max(long, 2048):
            long, short = long * 768 // short, 768
        elif long > 2048:
            long, short = 2048, _cells(short * 2048, long)
        return self.base + self.tile * _cells(long, 512) * _cells(short, 512)


class OpenAIPatches(ImageTokens):
    """GPT-4.1 mini, GPT-5.2 and later: patches of 32 px, times a factor of the model
    (https://developers.openai.com/api/docs/guides/images-vision#patch-based-image-tokenization).
    The page warns that a bill can differ by one token."""

    rule: Literal["openai-patches"] = Field("openai-patches", description="Patches of 32 px.")
    side: int = Field(65535, ge=1, description="Larger pictures are shrunk to this side, pixels.")
    budget: int | None = Field(None, ge=1, description="Most patches; empty means no limit.")
    multiplier: float = Field(1.2, gt=0, description="Tokens a patch.")

    def count(self, width: int, height: int) -> int:
        width, height = _within(width, height, self.side)
        patches = _cells(width, 32) * _cells(height, 32)
        if self.budget is not None and patches > self.budget:
            shrink = math.sqrt(32**2 * self.budget / (width * height))
            across, down = width * shrink / 32, height * shrink / 32
            shrink *= min(math.floor(across) / across, math.floor(down) / down)
            columns, rows = (_cells(math.floor(side * shrink), 32) for side in (width, height))
            patches = min(columns * rows, self.budget) or self.budget
        return math.ceil(patches * self.multiplier)


class Claude(ImageTokens):
    """Claude: patches of 28 px of the largest size within both limits; 1568 px and 1568 patches
    before Claude 4.7, 2576 px and 4784 patches since
    (https://platform.claude.com/docs/en/build-with-claude/vision#evaluate-image-size and
    .../vision-coordinates; pixels / 750 was the rule before). Above 2000 px, bills up to 40 tokens
    higher are reported."""

    rule: Literal["claude"] = Field("claude", description="Patches of 28 px.")
    side: int = Field(2576, ge=28, description="Longest side that the model sees, pixels.")
    budget: int = Field(4784, ge=1, description="Most patches.")

    def count(self, width: int, height: int) -> int:
        long, short = max(width, height), min(width, height)

        def grid(side: int) -> tuple[int, int]:
            return _cells(side, 28), _cells(max(1, round(side * short / long)), 28)

        low, high = 1, long
        while low < high:
            middle = (low + high + 1) // 2
            columns, rows = grid(middle)
            if columns * 28 <= self.side and columns * rows <= self.budget:
                low = middle
            else:
                high = middle - 1
        return math.prod(grid(low))


class GeminiTiles(ImageTokens):
    """Gemini 2.5: 258 tokens up to 384 px, else 258 a tile, a tile being two thirds of the short
    side and 768 px at most (https://ai.google.dev/gemini-api/docs/image-understanding). The page
    counts no overview, bills of six tiles show 1806: one more tile is counted."""

    rule: Literal["gemini-tiles"] = Field("gemini-tiles", description="Tiles of up to 768 px.")
    tile: int = Field(258, ge=1, description="Tokens a tile.")

    def count(self, width: int, height: int) -> int:
        if max(width, height) <= 384:
            return self.tile
        unit = min(768, max(1, min(width, height) * 2 // 3))
        return self.tile * (_cells(width, unit) * _cells(height, unit) + 1)


class Qwen(ImageTokens):
    """Qwen-VL: patches of 28 px (Qwen2-VL, Qwen2.5-VL: least 4) or 32 px (Qwen3-VL), sides rounded
    to whole patches, and two tokens around them (`smart_resize` in Transformers' qwen2_vl,
    preprocessor_config.json of Qwen/Qwen3-VL-8B-Instruct). A host may allow fewer."""

    rule: Literal["qwen"] = Field("qwen", description="Patches, sides rounded to whole ones.")
    patch: int = Field(32, ge=1, description="Side of a patch, pixels (28 before Qwen3-VL).")
    least: int = Field(64, ge=1, description="Smaller pictures are enlarged to so many patches.")
    most: int = Field(16384, ge=1, description="Larger pictures are shrunk to so many patches.")

    def count(self, width: int, height: int) -> int:
        columns, rows = (max(1, round(side / self.patch)) for side in (width, height))
        if columns * rows > self.most:
            shrink = math.sqrt(self.most / (width * height))
            columns, rows = (max(1, math.floor(side * shrink)) for side in (width, height))
        elif columns * rows < self.least:
            grow = math.sqrt(self.least / (width * height))
            columns, rows = (math.ceil(side * grow) for side in (width, height))
        return columns * rows + 2


class Mistral(ImageTokens):
    """Mistral Small 3.1 and later: patches of 14 px, four to a token, and a break after every row
    (`ImageEncoder` in https://github.com/mistralai/mistral-common; geometry of Mistral3Config)."""

    rule: Literal["mistral"] = Field("mistral", description="Patches and a break a row.")
    patch: int = Field(28, ge=1, description="Side of what becomes one token, pixels.")
    side: int = Field(1540, ge=1, description="Larger pictures are shrunk to this side, pixels.")

    def count(self, width: int, height: int) -> int:
        width, height = _within(width, height, self.side)
        return (_cells(width, self.patch) + 1) * _cells(height, self.patch)


Rule = Annotated[
    Fixed | OpenAITiles | OpenAIPatches | Claude | GeminiTiles | Qwen | Mistral,
    Field(discriminator="rule"),
]


class Price(Section):
    """What a model's tokens cost at its endpoint."""

    input_usd: float = Field(ge=0, description="USD for a million input tokens.")
    output_usd: float = Field(
        ge=0, description="USD for a million output tokens, reasoning included."
    )
    batch: float | None = Field(
        0.5,
        gt=0,
        le=1,
        description="Share of the price that the Batch API takes; empty where there is none.",
    )
    image: Rule = Field(description="How a picture is counted.")
    source: str = Field("", description="Where the price stands: the URL of the page.")
    date: datetime.date | None = Field(None, description="When it was read there (YYYY-MM-DD).")

    @model_validator(mode="before")
    @classmethod
    def _free(cls, given: object) -> object:
        """0 is enough for a server of one's own, and needs no rule for pictures."""
        given = {"input_usd": 0, "output_usd": 0} if given == 0 else given
        if isinstance(given, dict) and not (given.get("input_usd") or given.get("output_usd")):
            return {"image": {"rule": "fixed", "tokens": 1}, **given}
        return given

    @model_validator(mode="after")
    def _sourced(self) -> Self:
        if self.input_usd + self.output_usd > 0 and not (self.source.strip() and self.date):
            raise ValueError("a price needs `source`, its page, and `date`, when it was read there")
        return self

    @property
    def has_batches(self) -> bool:
        """Whether it is known what a batch costs."""
        return self.batch is not None or not self.input_usd + self.output_usd

    def usd(self, tokens_in: float, tokens_out: float, batch: bool = False) -> float:
        """US dollars for so many tokens (0 or more), not rounded; ConfigError where `batch` is
        asked of a model without."""
        if batch and not self.has_batches:
            raise ConfigError("no price is known for batches of this model: set `batch` in prices")
        share = self.batch if batch and self.batch is not None else 1.0
        return (tokens_in * self.input_usd + tokens_out * self.output_usd) / 1e6 * share


def _cells(length: int, cell: int) -> int:
    """How many cells cover a length."""
    return -(-length // cell)


def _within(width: int, height: int, side: int) -> tuple[int, int]:
    """The picture shrunk to `side`, rounded to whole pixels; a smaller one stays as it is."""
    long = max(width, height)
    if long <= side:
        return width, height
    return max(1, round(width * side / long)), max(1, round(height * side / long))


def _known() -> dict[str, Price]:
    text = resources.files("pocketvlm").joinpath("prices.yaml").read_text("utf-8")
    return TypeAdapter(dict[str, Price]).validate_python(yaml.safe_load(text))


KNOWN = _known()
"""Model name → its price at its maker's endpoint, or at the host that prices.yaml names."""

FREE = Price(input_usd=0, output_usd=0, batch=None, image=Qwen())
"""A server of one's own: tokens cost nothing, however a picture is counted."""


def with_known(given: dict[str, Price]) -> dict[str, Price]:
    """What is known, under what the user gives."""
    return KNOWN | given
