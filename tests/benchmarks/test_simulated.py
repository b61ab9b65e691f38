"""The simulated teacher: answers, limits, trouble and accounts."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import openai
import pytest

from pocketvlm.label.answer import Malformed, parse_answer
from pocketvlm.sections import ELEMENTS
from simulated import Settings, serve
from simulated.limits import Bucket, Window, duration

from .asking import ask, connect, data_url, send


def test_a_picture_is_always_answered_the_same_way() -> None:
    said = set()
    for _ in range(2):
        with serve(Settings()) as (url, _), connect(url) as client:
            said.add(ask(client, 7).choices[0].message.content)
    assert len(said) == 1
    assert parse_answer(said.pop()).status(ELEMENTS) == "ok"


def test_two_models_differ_only_where_they_doubt() -> None:
    with serve(Settings()) as (url, _), connect(url) as client:
        pairs = [
            [parse_answer(ask(client, at, model).choices[0].message.content) for model in "ab"]
            for at in range(100)
        ]
    other = [one for one, two in pairs if one.label != two.label]
    assert 0 < len(other) < 30
    assert all(answer.alternative and answer.confidence < 0.8 for answer in other)


def test_accounts_of_every_picture_and_model() -> None:
    with serve(Settings()) as (url, stats), connect(url) as client:
        usage = [
            ask(client, number, model).usage for number, model in ((1, "a"), (1, "a"), (2, "b"))
        ]
        told = stats()
    assert told["pictures"] == 2
    assert told["total"]["sent"] == told["total"]["admitted"] == 3
    assert told["total"]["prompt_tokens"] == sum(one.prompt_tokens for one in usage)
    row = told["rows"][0]
    assert row["picture"] == sha256(data_url(1).encode()).hexdigest()
    assert (row["model"], row["batch"], row["asked"], row["sent"]) == ("a", False, 2, 2)
    assert row["completion_tokens"] == usage[0].completion_tokens + usage[1].completion_tokens


@pytest.mark.parametrize("kind", ["bucket", "window"])
def test_over_the_limit_is_refused_at_once(kind: str) -> None:
    limited = Settings(seconds=0.5, limit=kind, limit_seconds=6, requests_per_minute=20)  # type: ignore[arg-type]
    with serve(limited) as (url, stats), connect(url) as client:
        first = client.chat.completions.with_raw_response.create
        headers = first(model="one", messages=[picture_message(0)]).headers
        ask(client, 1)
        started = time.monotonic()
        with pytest.raises(openai.RateLimitError) as refused:
            ask(client, 2)
        assert time.monotonic() - started < 0.4
        told = stats()
    assert headers["x-ratelimit-limit-requests"] == "20"
    assert headers["x-ratelimit-remaining-requests"] == "19"
    assert refused.value.code == "rate_limit_exceeded"
    assert 0 < int(refused.value.response.headers["retry-after-ms"]) <= 6000
    assert (told["total"]["limited"], told["total"]["sent"]) == (1, 2)
    assert sum(second["requests"] for second in told["timeline"]) == 2


def test_a_limit_may_be_told_by_nothing_but_the_status() -> None:
    silent = Settings(limit="window", requests_per_minute=60, headers="none", retry_after=False)
    with serve(silent) as (url, _), connect(url) as client:
        ask(client, 0)
        with pytest.raises(openai.RateLimitError) as refused:
            ask(client, 1)
    assert not [
        name for name in refused.value.response.headers if "rate" in name or "retry" in name
    ]


def test_tokens_are_limited_too() -> None:
    with serve(Settings(limit="bucket", limit_seconds=60, tokens_per_minute=3000)) as (url, stats):
        with connect(url) as client, pytest.raises(openai.RateLimitError) as refused:
            for number in range(40):
                ask(client, number)
        told = stats()["total"]
    assert "tokens per min" in refused.value.message
    assert 500 < told["prompt_tokens"] + told["completion_tokens"] <= 3100


@pytest.mark.parametrize(("kind", "burst"), [(Bucket, 10), (Window, 10)])
def test_a_limit_lets_its_rate_through(kind: type[Bucket | Window], burst: int) -> None:
    """Asked a hundred times a second for ten minutes of made-up time: 60 a minute, and a burst."""
    limit, admitted = kind(60, burst, 0.0), 0
    for step in range(60_000):
        now = step / 100
        if limit.wait(1, now) == 0:
            limit.take(1, now)
            admitted += 1
    assert abs(admitted - 600) <= burst


def test_waiting_as_told_is_enough() -> None:
    for limit in (Bucket(60, 5, 0.0), Window(60, 5, 0.0)):
        limit.take(5, 0.0)
        wait = limit.wait(1, 2.0 if isinstance(limit, Window) else 0.0)
        assert wait > 0
        assert limit.wait(1, 2.0 + wait) == 0


@pytest.mark.parametrize(
    ("seconds", "written"), [(0.0115, "12ms"), (8.64, "8.64s"), (360.0, "6m0s"), (61.5, "1m1.5s")]
)
def test_times_as_openai_writes_them(seconds: float, written: str) -> None:
    assert duration(seconds) == written


def test_beyond_the_slots_calls_queue() -> None:
    with serve(Settings(seconds=0.1, slots=2)) as (url, stats), connect(url) as client:
        started = time.monotonic()
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda number: ask(client, number), range(6)))
        assert time.monotonic() - started >= 0.29
        assert stats()["busiest"] == 6


def test_trouble_by_share() -> None:
    trouble = Settings(malformed=0.1, refused=0.1, none=0.1, errors=0.1, cut=0.1)
    seen: Counter[str] = Counter()
    with serve(trouble) as (url, stats), connect(url) as client:
        for number in range(300):
            try:
                message = ask(client, number).choices[0].message
                seen["refused"] += message.refusal is not None
                answer = parse_answer(message.content or '{"confidence": 1, "label": "refused"}')
                seen["none"] += answer.label == "none"
            except openai.InternalServerError:
                seen["errors"] += 1
            except openai.APIConnectionError:
                seen["lost"] += 1
            except Malformed:
                seen["malformed"] += 1
        told = stats()["total"]
    assert all(10 < seen[name] < 60 for name in ("refused", "none", "errors", "lost", "malformed"))
    assert (told["errors"], told["lost"]) == (seen["errors"], seen["lost"])
    assert told["sent"] == 300 - told["errors"] - told["lost"]


def test_a_cut_call_may_be_made_again() -> None:
    with serve(Settings(cut=0.5)) as (url, stats), connect(url) as client:
        patient = client.with_options(max_retries=20)
        for number in range(5):
            ask(patient, number)
        told = stats()["total"]
    assert told["sent"] == 5
    assert told["asked"] == 5 + told["lost"] > 5


def test_an_answer_that_nobody_waits_for_is_not_billed() -> None:
    with serve(Settings(seconds=0.2)) as (url, stats):
        send(url, 1).close()
        time.sleep(0.5)
        told = stats()["total"]
    assert (told["asked"], told["sent"], told["lost"]) == (1, 0, 1)


def test_what_is_no_question() -> None:
    with serve(Settings()) as (url, _), connect(url) as client:
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
        with pytest.raises(openai.NotFoundError):
            client.embeddings.create(model="m", input="x")
        assert [model.id for model in client.models.list()] == ["simulated"]


def picture_message(number: int) -> openai.types.chat.ChatCompletionUserMessageParam:
    """A user's turn with nothing but a picture."""
    return {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": data_url(number)}}],
    }
