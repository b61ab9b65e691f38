"""Against a server of other people's making that also judges its client (llmock): each fault ends
as it should in the ledger, and the client behaves."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pocketvlm.errors import PocketError
from pocketvlm.project import Project

from .batching import ask
from .conftest import answers, make
from .server import GOOD

pytest.importorskip("llmock", reason="llmock is not installed")
from llmock.pytest_plugin import LLMock
from llmock.scenarios import Delay, Reply
from llmock.testing import LLMockServer

TEXT = json.dumps(GOOD)


def made(peer: LLMock, root: Path, count: int, **teacher: Any) -> Project:
    """A workspace that asks the peer, with quick retries; the peer answers well from then on."""
    peer.reply(TEXT, times=None)
    return make(root, count, peer.base_url(), **{"structured": False, "retries": 2} | teacher)


def behaves(peer: LLMock, project: Project) -> None:
    """The peer has nothing to complain of, and what is answered is not asked again."""
    peer.assert_resilient()
    asked = len(peer.requests)
    ask(project)
    assert len(peer.requests) == asked


def statuses(project: Project) -> list[str]:
    """Of all answer rows, with the kind of error."""
    return [str(row.get("error", row["status"])).split(":")[0] for row in answers(project)]


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_what_passes_is_tried_again(tmp_path: Path, llmock: LLMock, status: int) -> None:
    llmock.fail(status, retry_after=0.2)
    project = made(llmock, tmp_path, 2)
    assert ask(project) == {"ok": 2}
    kind = "rate limited" if status == 429 else "server error"
    assert sorted(statuses(project)) == sorted([kind, "ok", "ok"])
    assert answers(project)[0]["error"].startswith(f"{kind}: {status} - ")
    assert answers(project)[0]["billed"] == ("unknown" if status == 504 else "nothing")
    behaves(llmock, project)


def test_trouble_is_met_with_growing_pauses(tmp_path: Path, llmock: LLMock) -> None:
    llmock.fail(500, times=2)
    assert ask(made(llmock, tmp_path, 1)) == {"ok": 1}
    first, second, third = llmock.requests
    assert second.started_at - first.ended_at > 0.35
    assert third.started_at - second.ended_at > 0.7
    llmock.assert_resilient(strict=True)


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_what_would_fail_again_is_left_to_the_next_run(
    tmp_path: Path, llmock: LLMock, status: int
) -> None:
    llmock.fail(status)
    project = made(llmock, tmp_path, 2)
    assert ask(project) == {"failed": 1, "ok": 1}
    assert answers(project)[0]["error"].startswith(f"request refused: {status} - ")
    llmock.assert_resilient(strict=True)
    assert len(llmock.requests) == 2
    assert ask(project) == {"ok": 2}
    assert len(llmock.requests) == 3


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (401, "refused the key", "key refused"),
        (402, "no credit left", "no credit"),
        (403, "refused the key", "key refused"),
        (404, "knows no model", "unknown model"),
    ],
)
def test_what_every_call_would_meet_stops_at_once(
    tmp_path: Path, llmock: LLMock, status: int, said: str, kind: str
) -> None:
    llmock.outage(status=status)
    project = made(llmock, tmp_path, 30, concurrency=4)
    with pytest.raises(PocketError, match=said):
        ask(project)
    assert len(llmock.requests) <= 4
    assert set(statuses(project)) == {kind}
    assert all(row["usd"] == 0 and row["billed"] == "nothing" for row in answers(project))
    llmock.assert_resilient(strict=True)


@pytest.mark.parametrize("status", [400, 404, 415, 422])
def test_structured_output_is_given_up_without_a_retry(
    tmp_path: Path, llmock: LLMock, status: int
) -> None:
    """The request without it is another one: the peer sees no retry of what cannot succeed."""
    llmock.fail(status)
    project = made(llmock, tmp_path, 3, structured=True)
    assert ask(project) == {"ok": 3}
    assert ["response_format" in one.body for one in llmock.requests] == [True, *[False] * 3]
    behaves(llmock, project)


@pytest.mark.parametrize("status", [400, 429, 500])
def test_an_outage_is_no_storm(tmp_path: Path, llmock: LLMock, status: int) -> None:
    llmock.fail(status, times=None, retry_after=0.05)
    project = made(llmock, tmp_path, 1, concurrency=4, retries=2)
    assert ask(project) == {"failed": 1}
    llmock.assert_resilient()
    assert len(llmock.requests) == (1 if status == 400 else 3)


def test_a_wait_that_is_asked_for_is_kept_by_all_calls(tmp_path: Path, llmock: LLMock) -> None:
    llmock.add(Delay(0.2, times=None))
    llmock.rate_limit(retry_after=0.6)
    project = made(llmock, tmp_path, 10, concurrency=8)
    assert ask(project) == {"ok": 10}
    limited = next(one for one in llmock.requests if one.status == 429)
    early = [
        one.started_at - limited.ended_at
        for one in llmock.requests
        if 0.02 < one.started_at - limited.ended_at < 0.58
    ]
    assert not early
    assert any(one.started_at > limited.ended_at + 0.58 for one in llmock.requests)
    behaves(llmock, project)


def test_a_503_that_asks_to_wait_holds_all_calls_too(tmp_path: Path, llmock: LLMock) -> None:
    llmock.add(Delay(0.2, times=None))
    llmock.fail(503, retry_after=0.6)
    project = made(llmock, tmp_path, 12, concurrency=8)
    assert ask(project) == {"ok": 12}
    down = next(one for one in llmock.requests if one.status == 503)
    gaps = [one.started_at - down.ended_at for one in llmock.requests]
    assert not [gap for gap in gaps if 0.02 < gap < 0.58]
    behaves(llmock, project)


@pytest.mark.parametrize(("kind", "limit"), [("rpm", 600), ("tpm", 1_200_000)])
def test_a_quota_that_others_have_used_up(
    tmp_path: Path, llmock: LLMock, llmock_server: LLMockServer, kind: str, limit: int
) -> None:
    """The first calls meet it; from then on its headers are kept to."""
    llmock.limits(**{kind: limit})
    project = made(llmock, tmp_path, 8, concurrency=16)
    key = f"Bearer {os.environ['OPENAI_API_KEY']}"
    while llmock_server.state.limiter.admit("openai", key, limit // 100).allowed:
        pass
    assert ask(project) == {"ok": 8}
    assert 1 <= len([one for one in llmock.requests if one.status == 429]) <= 6
    behaves(llmock, project)


def test_a_quota_of_our_own_is_never_met(tmp_path: Path, llmock: LLMock) -> None:
    llmock.limits(rpm=1200)
    project = made(llmock, tmp_path, 30, concurrency=16)
    assert ask(project) == {"ok": 30}
    assert {one.status for one in llmock.requests} == {200}
    first, last = llmock.requests[0], llmock.requests[-1]
    assert 24 / 20 < last.started_at - first.started_at < 4
    behaves(llmock, project)


def test_delays_beyond_the_timeout(tmp_path: Path, llmock: LLMock) -> None:
    llmock.delay(1.0, times=2)
    project = made(llmock, tmp_path, 2, timeout=0.3, concurrency=2)
    assert ask(project) == {"ok": 2}
    assert statuses(project) == ["timeout", "timeout", "ok", "ok"]
    assert [row["billed"] for row in answers(project)] == ["unknown"] * 2 + ["usage"] * 2
    behaves(llmock, project)


@pytest.mark.parametrize(
    "bad",
    [
        "It is water, no doubt.",
        "",
        TEXT[: len(TEXT) // 2],
        json.dumps(GOOD | {"confidence": "very"}),
        json.dumps(GOOD | {"label": ["water"]}),
        json.dumps(GOOD | {"visual_features": {"a": 1}}),
        json.dumps([GOOD["label"]]),
        f"{TEXT} No, wait: {TEXT[:-9]}",
        "x" * 3_000_000,
    ],
    ids=["prose", "empty", "half", "type", "label", "features", "list", "second", "huge"],
)
def test_what_cannot_be_read_is_asked_exactly_once_more(
    tmp_path: Path, llmock: LLMock, bad: str
) -> None:
    llmock.reply(bad, times=3)  # the first picture twice, the second one once
    project = made(llmock, tmp_path, 2)
    assert ask(project) == {"malformed": 1, "ok": 1}
    rows = answers(project)
    assert [row["status"] for row in rows] == ["malformed"] * 3 + ["ok"]
    assert all(row["error"] and row["billed"] == "usage" for row in rows[:3])
    assert len(llmock.requests) == 4
    assert ask(project) == {"ok": 2}
    behaves(llmock, project)


@pytest.mark.parametrize(
    "good",
    [
        f"```json\n{TEXT}\n```",
        f"```\n{TEXT}\n```\nIs there anything else?",
        json.dumps(GOOD, indent=4),
        f"{json.dumps(GOOD | {'label': 'fire'})} No, wait: {TEXT}",
        json.dumps({"answer": GOOD}),
        json.dumps([GOOD]),
    ],
    ids=["fence", "plain fence", "indented", "several", "wrapped", "list"],
)
def test_what_is_wrapped_is_read(tmp_path: Path, llmock: LLMock, good: str) -> None:
    llmock.reply(good)
    project = made(llmock, tmp_path, 1)
    assert ask(project) == {"ok": 1}
    assert answers(project)[0]["label"] == "water"
    behaves(llmock, project)


def test_a_refusal_is_asked_exactly_once_more(tmp_path: Path, llmock: LLMock) -> None:
    """The first picture is declined once, the second one twice."""
    declined = Reply(text="", finish_reason="content_filter")
    llmock.add(declined).reply(TEXT).add(declined, declined)
    project = made(llmock, tmp_path, 3)
    assert ask(project) == {"ok": 2, "refused": 1}
    rows = [row["status"] for row in answers(project)]
    assert rows == ["refused", "ok", "refused", "refused", "ok"]
    behaves(llmock, project)
