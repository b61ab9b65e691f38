"""What a teacher costs: each rule against its provider's own examples, and the price of tokens."""

import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from pocketvlm.errors import ConfigError
from pocketvlm.prices import (
    FREE,
    KNOWN,
    Claude,
    Fixed,
    GeminiTiles,
    ImageTokens,
    Mistral,
    OpenAIPatches,
    OpenAITiles,
    Price,
    Qwen,
    with_known,
)
from pocketvlm.sections import Section

PUBLISHED: list[tuple[ImageTokens, tuple[int, int], int]] = [
    # https://developers.openai.com/api/docs/guides/images-vision, tiles: 2024 and today.
    (OpenAITiles(), (1024, 1024), 765),
    (OpenAITiles(), (2048, 4096), 1105),
    (OpenAITiles(base=2833, tile=5667), (1024, 1024), 2833 + 4 * 5667),
    # The same page, patches: 1536 of them in 2025 (before the factor), gpt-5.4 today.
    (OpenAIPatches(side=2048, budget=1536, multiplier=1), (1024, 1024), 1024),
    (OpenAIPatches(budget=1536, multiplier=1), (1800, 2400), 1452),
    (OpenAIPatches(side=2048, budget=1536, multiplier=1), (1800, 2400), 1452),
    (OpenAIPatches(side=2048, budget=2500), (1024, 1024), 1229),
    (OpenAIPatches(side=2048, budget=2500), (2048, 2048), 3000),
    # https://platform.claude.com/docs/en/build-with-claude/vision: its table, both tiers,
    # and the A4 page of .../vision-coordinates, which is shrunk to 924 x 1307.
    (Claude(side=1568, budget=1568), (200, 200), 64),
    (Claude(side=1568, budget=1568), (1000, 1000), 1296),
    (Claude(side=1568, budget=1568), (1092, 1092), 1521),
    (Claude(side=1568, budget=1568), (1920, 1080), 1560),
    (Claude(side=1568, budget=1568), (2000, 1500), 1564),
    (Claude(side=1568, budget=1568), (3840, 2160), 1560),
    (Claude(side=1568, budget=1568), (1075, 1520), 33 * 47),
    (Claude(), (1092, 1092), 1521),
    (Claude(), (1920, 1080), 2691),
    (Claude(), (2000, 1500), 3888),
    (Claude(), (3840, 2160), 4784),
    # https://ai.google.dev/gemini-api/docs/image-understanding: 6 tiles; and the overview.
    (GeminiTiles(), (384, 384), 258),
    (GeminiTiles(), (960, 540), 258 * 6 + 258),
    # https://ai.google.dev/gemini-api/docs/media-resolution.
    (Fixed(tokens=1120), (64, 64), 1120),
]

COMPUTED: list[tuple[ImageTokens, tuple[int, int], int]] = [
    # What `smart_resize` of Qwen2-VL makes of them, and the two tokens around a picture.
    (Qwen(patch=28, least=4), (1024, 1024), 1369 + 2),
    (Qwen(patch=28, least=4), (640, 480), 391 + 2),
    (Qwen(patch=28, least=4), (64, 64), 4 + 2),
    (Qwen(patch=28, least=4), (8192, 6144), 16170 + 2),
    (Qwen(), (1024, 768), 768 + 2),
    (Qwen(), (500, 333), 160 + 2),
    (Qwen(), (64, 64), 64 + 2),
    (Qwen(), (1000, 10), 80 + 2),
    (Qwen(most=1280), (1920, 1080), 1222 + 2),
    # What mistral-common 1.13.1 makes of them: 14 px, 1540 px, merged by two.
    (Mistral(), (1024, 1024), 1406),
    (Mistral(), (1024, 768), 1064),
    (Mistral(), (224, 224), 72),
    (Mistral(), (1920, 1080), 1736),
    (Mistral(), (3000, 20), 56),
]

BILLED: list[tuple[ImageTokens, tuple[int, int], int]] = [
    # Tokens that users report from their bills: gpt-6 and gpt-6-luna, gpt-4o and gpt-4o-mini,
    # Claude Opus 5.5, Gemini 2.0 and 3.5.
    (OpenAIPatches(), (256, 256), 77),
    (OpenAIPatches(), (512, 512), 307),
    (OpenAIPatches(), (1280, 720), 1104),
    (OpenAIPatches(), (4032, 3024), 14364),
    (OpenAITiles(), (128, 64), 267 - 12),
    (OpenAITiles(base=2833, tile=5667), (128, 64), 8512 - 12),
    (Claude(), (768, 768), 861 - 77),
    (Claude(), (1280, 720), 1273 - 77),
    (Fixed(tokens=1120), (1024, 1024), 1089),
]

RULES: list[ImageTokens] = [
    Fixed(tokens=1120),
    OpenAITiles(),
    OpenAITiles(base=70, tile=140),
    OpenAIPatches(),
    OpenAIPatches(side=2048, budget=1536, multiplier=2.46),
    OpenAIPatches(budget=1),
    Claude(),
    Claude(side=1568, budget=1568),
    GeminiTiles(),
    Qwen(),
    Qwen(patch=28, least=4, most=1280),
    Mistral(),
]

SIDES = st.integers(1, 10000)
TOKENS = st.integers(0, 10**9)


@pytest.mark.parametrize(("rule", "size", "tokens"), PUBLISHED + COMPUTED)
def test_a_count_is_the_providers_own(
    rule: ImageTokens, size: tuple[int, int], tokens: int
) -> None:
    assert rule.count(*size) == tokens


@pytest.mark.parametrize(("rule", "size", "tokens"), BILLED)
def test_a_count_is_not_below_a_bill(rule: ImageTokens, size: tuple[int, int], tokens: int) -> None:
    assert tokens <= rule.count(*size) <= max(tokens + 1, 1120)


@given(st.sampled_from(RULES), SIDES, SIDES)
def test_any_picture_takes_tokens_and_turning_it_changes_little(
    rule: ImageTokens, width: int, height: int
) -> None:
    count, turned = rule.count(width, height), rule.count(height, width)
    assert count >= 1
    if not isinstance(rule, Mistral):  # which ends every row with a break
        assert count == turned


@given(st.sampled_from(RULES), st.integers(64, 2500), st.floats(0.25, 4), st.floats(1, 4))
def test_a_larger_picture_takes_no_less(
    rule: ImageTokens, width: int, aspect: float, scale: float
) -> None:
    """But for what a limit rounds away: whole rows and columns."""
    if rule == OpenAIPatches(budget=1):
        return
    height = max(1, round(width * aspect))
    larger = rule.count(round(width * scale), round(height * scale))
    assert larger >= 0.75 * rule.count(width, height)


@given(SIDES, SIDES)
def test_limits_hold(width: int, height: int) -> None:
    assert OpenAIPatches(budget=1536, multiplier=1).count(width, height) <= 1536
    assert Claude(side=1568, budget=1568).count(width, height) <= 1568
    assert Claude().count(width, height) <= 4784
    assert OpenAITiles().count(width, height) <= 85 + 170 * 8


@given(st.sampled_from([*KNOWN.values(), FREE]), TOKENS, TOKENS, TOKENS, TOKENS)
def test_usd_adds_up_and_is_never_negative(
    price: Price, first_in: int, first_out: int, then_in: int, then_out: int
) -> None:
    parts = price.usd(first_in, first_out) + price.usd(then_in, then_out)
    whole = price.usd(first_in + then_in, first_out + then_out)
    assert whole >= 0
    assert math.isclose(parts, whole, rel_tol=1e-12)


def test_usd_is_the_bill() -> None:
    price = KNOWN["gpt-4o-mini"]
    assert price.usd(1_000_000, 0) == 0.15
    assert price.usd(0, 1_000_000) == 0.6
    assert price.usd(1_000_000, 1_000_000, batch=True) == 0.375
    tokens = price.image.count(1024, 1024)
    assert tokens == 25501
    assert price.usd(tokens, 0) == pytest.approx(0.00382515, rel=1e-12)


def test_a_batch_of_a_model_without_says_what_to_set() -> None:
    price = Price(
        input_usd=1, output_usd=2, batch=None, image=Qwen(), source="https://a.b", date="2026-11-25"
    )
    with pytest.raises(ConfigError, match="set `batch`"):
        price.usd(1, 1, batch=True)
    assert FREE.usd(10**9, 10**9) == 0


COST = {
    "gpt-4o": (765, 1.91),
    "gpt-4o-mini": (25501, 3.83),
    "gpt-4.1": (765, 1.53),
    "gpt-4.1-mini": (1659, 0.66),
    "gpt-5.4-mini": (1229, 0.92),
    "gpt-5.6-luna": (1229, 0.25),
    "gpt-6-luna": (1229, 0.12),
    "gemini-2.5-flash-lite": (1290, 0.13),
    "gemini-3.1-flash-lite": (1120, 0.28),
    "gemini-3.5-flash-lite": (1120, 0.34),
    "claude-haiku-4-5": (1369, 1.37),
    "claude-haiku-5-5": (1369, 0.14),
    "claude-sonnet-5-5": (1369, 2.74),
    "mistral-small-2603": (1406, 0.21),
    "Qwen/Qwen3-VL-235B-A22B-Instruct": (1026, 0.21),
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": (2467, 0.25),
}
"""Tokens of a picture of 1024 x 1024 px, and USD for a thousand of them."""


def test_what_is_known_costs_what_it_did_when_it_was_read() -> None:
    tokens = {name: price.image.count(1024, 1024) for name, price in KNOWN.items()}
    assert {
        name: (count, round(KNOWN[name].usd(1000 * count, 0), 2)) for name, count in tokens.items()
    } == COST


def test_what_is_known_says_where_it_stands() -> None:
    for price in KNOWN.values():
        assert price.source.startswith("https://")
        assert price.date is not None and price.date.year == 2026


@pytest.mark.parametrize("price", [*KNOWN.values(), FREE])
def test_a_price_reads_back_from_yaml(price: Price) -> None:
    text = yaml.safe_dump(price.model_dump(mode="json"))
    assert Price.model_validate(yaml.safe_load(text)) == price


def test_the_users_prices_go_over_what_is_known() -> None:
    before = dict(KNOWN)
    prices = with_known({"gpt-4o": FREE, "mine": FREE})
    assert prices["gpt-4o"] == prices["mine"] == FREE
    assert prices["gpt-4.1"] == KNOWN["gpt-4.1"]
    assert before == KNOWN
    assert with_known({}) == KNOWN


PRICE = {
    "input_usd": 1,
    "output_usd": 2,
    "image": {"rule": "qwen"},
    "source": "https://a.b",
    "date": "2026-11-25",
}


def test_a_price_of_ones_own_needs_few_lines() -> None:
    text = "mine: {input_usd: 0, output_usd: 0, image: {rule: fixed, tokens: 1000}}"
    prices = TypeAdapter(dict[str, Price]).validate_python(yaml.safe_load(text))
    assert prices["mine"].image == Fixed(tokens=1000)
    assert Price.model_validate(PRICE).batch == 0.5


@pytest.mark.parametrize(
    ("change", "where", "says"),
    [
        ({"input_usd": -1}, "input_usd", "greater than or equal to 0"),
        ({"output_usd": float("nan")}, "output_usd", "finite"),
        ({"source": " "}, "", "needs `source`"),
        ({"date": None}, "", "needs `source`"),
        ({"date": "yesterday"}, "date", "date"),
        ({"batch": 0}, "batch", "greater than 0"),
        ({"batch": 1.5}, "batch", "less than or equal to 1"),
        ({"image": {"rule": "pixels"}}, "image", "'pixels' found using 'rule'"),
        ({"image": {"rule": "qwen", "tile": 85}}, "image.qwen.tile", "not permitted"),
        ({"image": {"rule": "fixed"}}, "image.fixed.tokens", "required"),
        ({"currency": "EUR"}, "currency", "not permitted"),
    ],
)
def test_a_wrong_price_is_refused(change: dict[str, Any], where: str, says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Price.model_validate(PRICE | change)
    (error,) = caught.value.errors()
    assert ".".join(map(str, error["loc"])) == where
    assert says in error["msg"]


def test_every_key_is_explained() -> None:
    sections: list[type[Section]] = [Price, *(type(rule) for rule in RULES)]
    for section in sections:
        for name, field in section.model_fields.items():
            assert field.description, name
