"""OpenAI's Files and Batch API of the simulated teacher, asked by OpenAI's client."""

import json
import time
from typing import Any, Final

import openai
import pytest

from pocketvlm.label.answer import parse_answer
from simulated import Settings, serve

from .asking import connect, request

ENDPOINT: Final = "/v1/chat/completions"


def upload(client: openai.OpenAI, count: int, **changed: Any) -> str:
    """An input file of `count` requests; its id."""
    lines = [
        {"custom_id": f"q{at}", "method": "POST", "url": ENDPOINT, "body": request(at)} | changed
        for at in range(count)
    ]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    return client.files.create(file=("in.jsonl", content), purpose="batch").id


def begin(client: openai.OpenAI, count: int, **changed: Any) -> openai.types.Batch:
    """A batch of `count` requests."""
    return client.batches.create(
        input_file_id=upload(client, count, **changed),
        endpoint=ENDPOINT,
        completion_window="24h",
        metadata={"run": "7"},
    )


def end(client: openai.OpenAI, id: str) -> tuple[openai.types.Batch, list[str]]:
    """A batch at its end, with the statuses on the way."""
    seen: list[str] = []
    while True:
        batch = client.batches.retrieve(id)
        if batch.status not in seen:
            seen.append(batch.status)
        if batch.status in ("completed", "failed", "expired", "cancelled"):
            return batch, seen
        time.sleep(0.02)


def lines(client: openai.OpenAI, id: str | None) -> list[dict[str, Any]]:
    """The lines of a file; none where there is no file."""
    return [json.loads(line) for line in client.files.content(id).text.splitlines()] if id else []


def test_the_whole_way() -> None:
    with serve(Settings(batch_seconds=1.2)) as (url, stats), connect(url) as client:
        batch, seen = end(client, begin(client, 20).id)
        output = lines(client, batch.output_file_id)
        told = stats()
    assert seen == ["validating", "in_progress", "finalizing", "completed"]
    assert batch.metadata == {"run": "7"}
    assert batch.request_counts and batch.request_counts.completed == 20
    names = [line["custom_id"] for line in output]
    assert names != sorted(names, key=lambda name: int(name[1:])) and len(set(names)) == 20
    parse_answer(output[0]["response"]["body"]["choices"][0]["message"]["content"])
    assert {row["batch"] for row in told["rows"]} == {True}
    assert (told["total"]["sent"], told["pictures"], told["batches"]) == (20, 20, 1)
    tokens = [line["response"]["body"]["usage"]["prompt_tokens"] for line in output]
    assert told["total"]["prompt_tokens"] == sum(tokens)


def test_some_requests_fail() -> None:
    with serve(Settings(batch_seconds=0, errors=0.3)) as (url, stats), connect(url) as client:
        batch, _ = end(client, begin(client, 40).id)
        good, bad = lines(client, batch.output_file_id), lines(client, batch.error_file_id)
        told = stats()["total"]
    assert {line["response"]["status_code"] for line in bad} == {500}
    assert len({line["custom_id"] for line in good + bad}) == 40
    assert (told["sent"], told["errors"]) == (len(good), len(bad))


def test_an_expired_batch_has_answered_half() -> None:
    late = Settings(batch_seconds=0, batch_end="expired")
    with serve(late) as (url, stats), connect(url) as client:
        batch, _ = end(client, begin(client, 10).id)
        bad = lines(client, batch.error_file_id)
        assert len(lines(client, batch.output_file_id)) == stats()["total"]["sent"] == 5
    assert batch.status == "expired" and batch.expired_at
    assert [line["error"]["code"] for line in bad] == ["batch_expired"] * 5


def test_a_failed_batch_costs_nothing() -> None:
    with (
        serve(Settings(batch_seconds=0, batch_end="failed")) as (url, stats),
        connect(url) as client,
    ):
        batch, _ = end(client, begin(client, 3).id)
        assert batch.status == "failed" and batch.errors and batch.errors.data
        assert stats()["total"]["sent"] == 0


@pytest.mark.parametrize("changed", [{"custom_id": "same"}, {"url": "/v1/other"}, {"body": {}}])
def test_a_wrong_input_file_fails_the_batch(changed: dict[str, Any]) -> None:
    with serve(Settings()) as (url, _), connect(url) as client:
        batch = begin(client, 2, **changed)
    assert batch.status == "failed" and batch.errors and batch.errors.data


def test_cancelling_keeps_what_was_answered() -> None:
    with serve(Settings(batch_seconds=2)) as (url, stats), connect(url) as client:
        batch = begin(client, 100)
        time.sleep(0.8)
        assert client.batches.cancel(batch.id).status == "cancelling"
        batch, _ = end(client, batch.id)
        good, bad = lines(client, batch.output_file_id), lines(client, batch.error_file_id)
        assert stats()["total"]["sent"] == len(good)
        with pytest.raises(openai.ConflictError):
            client.batches.cancel(batch.id)
    assert batch.status == "cancelled"
    assert len(good) + len(bad) == 100 and good and bad


def test_lists_come_page_by_page() -> None:
    with serve(Settings(batch_seconds=0)) as (url, _), connect(url) as client:
        made = [begin(client, 1).id for _ in range(5)]
        page = client.batches.list(limit=2)
        assert [batch.id for batch in page.data] == made[:2:-1]
        assert page.has_more
        assert [batch.id for batch in client.batches.list(limit=2)] == made[::-1]
        uploaded = [file.id for file in client.files.list() if file.purpose == "batch"]
        assert len(uploaded) == 5
        client.files.delete(uploaded[0])
        with pytest.raises(openai.NotFoundError):
            client.files.content(uploaded[0])


def test_a_batch_may_be_made_without_anyone_hearing_of_it() -> None:
    deaf = Settings(batch_seconds=0, lose_first_batch=True)
    with serve(deaf) as (url, stats), connect(url) as client:
        with pytest.raises(openai.APIConnectionError):
            begin(client, 2)
        (batch,) = client.batches.list()
        assert batch.metadata == {"run": "7"} and batch.status == "completed"
        assert begin(client, 2).id != batch.id
        assert stats()["batches"] == 2
