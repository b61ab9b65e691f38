"""Headers of limits, as vendors send them and as nobody should."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketvlm.limits import Kind, duration, read_limit, retry_after

NAMES = [
    "date",
    "retry-after",
    "retry-after-ms",
    "ratelimit-policy",
    *(f"ratelimit-{what}" for what in ("limit", "remaining", "reset")),
    *(
        f"{family}"
        for what in ("limit", "remaining", "reset")
        for kind in ("requests", "tokens")
        for family in (f"x-ratelimit-{what}-{kind}", f"anthropic-ratelimit-{kind}-{what}")
    ),
]


def openai(kind: Kind, limit: str, remaining: str, reset: str) -> dict[str, str]:
    said = {"limit": limit, "remaining": remaining, "reset": reset}
    return {f"x-ratelimit-{what}-{kind}": value for what, value in said.items()}


def anthropic(kind: str, limit: str, remaining: str, reset: str) -> dict[str, str]:
    said = {"limit": limit, "remaining": remaining, "reset": reset}
    headers = {f"anthropic-ratelimit-{kind}-{what}": value for what, value in said.items()}
    return headers | {"date": "Fri, 31 Jul 2026 10:00:00 GMT"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20ms", 0.02),
        ("1s", 1),
        ("6m0s", 360),
        ("2m59.56s", 179.56),
        ("1h2m3s", 3723),
        ("1d", 86400),
        ("150µs", 0.00015),
        (" 7 ", 7),
        ("0.5", 0.5),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "-1s", "1x", "1 s", "s", "1e3", "nan", "٣s", "1" * 65]
)
def test_what_is_no_duration(text: str) -> None:
    assert duration(text) is None


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_durations_are_exact(hours: int, minutes: int, seconds: int, thousandths: int) -> None:
    exact = Fraction(hours * 3600 + minutes * 60 + seconds) + Fraction(thousandths, 1000)
    text = f"{hours}h{minutes}m{seconds}.{thousandths:03d}s"
    assert duration(text) == float(exact)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "20"}, 20),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "20", "retry-after-ms": "150"}, 0.15),
        (
            {
                "retry-after": "Fri, 31 Jul 2026 10:00:30 GMT",
                "date": "Fri, 31 Jul 2026 10:00:00 GMT",
            },
            30,
        ),
        (
            {
                "retry-after": "Fri, 31 Jul 2026 09:00:00 GMT",
                "date": "Fri, 31 Jul 2026 10:00:00 GMT",
            },
            0,
        ),
        ({"retry-after": "Fri, 31 Jul 2026 10:00:30 GMT"}, None),
        ({"retry-after": "later"}, None),
        ({"retry-after": "-5"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_a_limit_counts_for_a_minute() -> None:
    stated = read_limit(openai("requests", "500", "499", "120ms"), "requests")
    assert stated.rate == pytest.approx(500 / 60)
    assert stated.closed == 0


def test_a_daily_limit_tells_its_refill_once_it_is_nearly_used_up() -> None:
    """Groq: 14400 requests a day come back one in 6 s; what is left may be used in a minute."""
    full = read_limit(openai("requests", "14400", "14370", "2m59.56s"), "requests")
    assert full.rate == pytest.approx(14370 / 60)
    used_up = read_limit(openai("requests", "14400", "0", "24h0m0s"), "requests")
    assert used_up.rate == pytest.approx(1 / 6)
    assert used_up.closed == 0


def test_a_window_that_is_used_up_is_closed_until_its_reset() -> None:
    assert read_limit(openai("tokens", "6000", "0", "20s"), "tokens").closed == 20


def test_a_bucket_is_closed_to_nobody() -> None:
    assert read_limit(openai("tokens", "6000", "1000", "50s"), "tokens", need=1200).closed == 0


def test_times_of_anthropic() -> None:
    requests = anthropic("requests", "50", "0", "2026-07-31T10:00:20Z")
    assert read_limit(requests, "requests").rate == pytest.approx(50 / 60)
    assert read_limit(requests, "requests").closed == 20
    both = anthropic("tokens", "90000", "1", "2026-07-31T10:00:00Z") | anthropic(
        "input-tokens", "60000", "1", "2026-07-31T10:00:00Z"
    )
    assert read_limit(both, "tokens").rate == 1000
    output = anthropic("output-tokens", "8000", "0", "2026-07-31T10:00:07Z")
    assert read_limit(output, "tokens").rate is None
    assert read_limit(output, "tokens").closed == 7


@pytest.mark.parametrize(
    ("headers", "rate"),
    [
        ({"ratelimit-limit": "100"}, None),
        ({"ratelimit-limit": "100, 100;w=10"}, 10),
        ({"ratelimit-policy": '"default";q=120;w=60'}, 2),
        ({"ratelimit-policy": "100;w=10, 5000;w=3600"}, 5000 / 3600),
        ({"ratelimit-policy": "100;w=0"}, None),
    ],
)
def test_the_draft_gives_a_rate_where_it_names_a_window(
    headers: dict[str, str], rate: float | None
) -> None:
    assert read_limit(headers, "requests").rate == rate


def test_the_draft_closes_at_zero() -> None:
    used_up = {"ratelimit-remaining": "0", "ratelimit-reset": "12"}
    assert read_limit(used_up, "requests").closed == 12


def test_nothing_stated() -> None:
    stated = read_limit({}, "requests")
    assert (stated.rate, stated.closed) == (None, 0)


VALUES = st.one_of(
    st.text(max_size=70),
    st.from_regex(r"[0-9]{1,64}(\.[0-9]{1,9})?(ms|s|m|h|d)?", fullmatch=True),
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    st.datetimes().map(lambda moment: moment.strftime("%a, %d %b %Y %H:%M:%S GMT")),
)


@given(st.dictionaries(st.sampled_from(NAMES), VALUES), st.sampled_from(["requests", "tokens"]))
def test_garbage_is_left_out(headers: dict[str, str], kind: Kind) -> None:
    stated = read_limit(headers, kind)
    assert stated.rate is None or 0 < stated.rate < float("inf")
    assert 0 <= stated.closed < float("inf")
    assert (retry_after(headers) or 0) >= 0
