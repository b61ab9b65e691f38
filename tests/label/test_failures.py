"""Each way a call can fail has its own name, and the next run asks again."""

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.label import label

from .batching import ask
from .conftest import KEY, answers, make
from .server import Reply, Server, answer, busy, refusal, says


def failure(tmp_path: Path, server: Server, *replies: Reply, **teacher: Any) -> str:
    """The error of the first picture's row; the second picture is answered."""
    server.queue.extend(replies)
    project = make(tmp_path, 2, server.url, **teacher)
    assert ask(project) == {"failed": 1, "ok": 1}
    first = answers(project)[0]
    assert first["status"] == "failed"
    server.queue.clear()
    before = len(server.asked)
    assert ask(project) == {"ok": 2}
    assert len(server.asked) == before + 1
    return str(first["error"])


def test_rate_limited(tmp_path: Path, server: Server) -> None:
    assert failure(tmp_path, server, busy(429), retries=0) == "rate limited: 429 - busy"


def test_server_error(tmp_path: Path, server: Server) -> None:
    assert failure(tmp_path, server, busy(500), retries=0) == "server error: 500 - busy"


def test_timeout(tmp_path: Path, server: Server) -> None:
    hang = Reply(instead="hang")
    error = failure(tmp_path, server, hang, timeout=0.5, retries=0)
    assert error == "timeout: no answer within 0.5 s"


def test_a_reply_that_never_ends(tmp_path: Path, server: Server) -> None:
    dribble = Reply(body=answer().body, instead="dribble")
    error = failure(tmp_path, server, dribble, timeout=0.5, retries=0)
    assert error == "timeout: no answer within 0.5 s"


def test_cut_connection(tmp_path: Path, server: Server) -> None:
    error = failure(tmp_path, server, Reply(instead="cut"), retries=0)
    assert re.fullmatch(r"unreachable: http.* cannot be reached \(Server disconnected .*\)", error)


def raw(*lines: str, body: str = "") -> Reply:
    """A reply as it is on the wire."""
    return Reply(body="\r\n".join(["HTTP/1.1 200 OK", *lines, "", body]), instead="raw")


BODY = answer().body


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (raw(f"Content-Length: {len(BODY) + 50}", body=BODY), "timeout"),
        (raw("Content-Length: 10", "Content-Length: 20", body=BODY), "unreachable"),
        (raw("Content-Length: many", body=BODY), "unreachable"),
        (raw("Content-Length: -5", body=BODY), "unreachable"),
        (raw("Transfer-Encoding: chunked", body=f"zz\r\n{BODY}"), "unreachable"),
        (raw("Transfer-Encoding: chunked", body=f"{len(BODY) + 9:x}\r\n{BODY}"), "timeout"),
        (raw("Transfer-Encoding: chunked", body=f"5\r\n{BODY}\r\n0\r\n\r\n"), "unreachable"),
        (raw("Content-Length: 9", "Content-Encoding: gzip", body="no gzip.."), "unreachable"),
        (Reply(body="\x00\x01 this is no HTTP\r\n\r\n", instead="raw"), "unreachable"),
        (raw("X: " + "x" * 200_000, "Content-Length: 2", body="{}"), "unreachable"),
        (Reply(body="x" * (9 << 20)), "unreachable"),
    ],
    ids=[
        *("length too long", "two lengths", "length in words", "length below zero"),
        *("chunk without size", "chunk that ends early", "chunk too long", "no gzip", "no HTTP"),
        *("huge header", "huge body"),
    ],
)
def test_nonsense_on_the_wire_is_one_failed_call(
    tmp_path: Path, server: Server, reply: Reply, kind: str
) -> None:
    project = make(tmp_path, 2, server.url, retries=0, timeout=0.5)
    server.queue.append(reply)
    assert ask(project) == {"failed": 1, "ok": 1}
    first = answers(project)[0]
    assert first["error"].startswith(f"{kind}: ")
    assert "\n" not in first["error"] and len(first["error"]) < 500
    assert first["billed"] == "unknown"  # the server may have worked, and bill it


def test_a_length_too_short_loses_one_answer_and_gives_it_to_no_other(
    tmp_path: Path, server: Server
) -> None:
    """What is left on the connection looks like the answer to the next question."""
    left = f"HTTP/1.1 200 OK\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}"
    server.queue.append(raw("Content-Length: 20", body=BODY[:20] + left))
    server.usual = answer(label="fire")
    project = make(tmp_path, 3, server.url)
    assert ask(project) == {"ok": 3}
    assert [row.get("label") for row in answers(project)] == [None, "fire", "fire", "fire"]
    assert len(server.asked) == 4


@pytest.mark.parametrize("charset", ["hex", "utf-16"])
def test_a_charset_that_is_none_does_not_matter(
    tmp_path: Path, server: Server, charset: str
) -> None:
    headers = {"Content-Type": f"application/json; charset={charset}", "retry-after-ms": "1"}
    server.queue.extend([Reply(500, "{}", headers), Reply(body=BODY, headers=headers)])
    assert ask(make(tmp_path, 1, server.url)) == {"ok": 1}


def test_half_a_body(tmp_path: Path, server: Server) -> None:
    half = Reply(body=answer().body, instead="half")
    assert "peer closed connection" in failure(tmp_path, server, half, retries=0)


def test_a_connection_that_breaks_is_tried_again(tmp_path: Path, server: Server) -> None:
    server.queue.extend([Reply(body=answer().body, instead="half"), Reply(instead="cut")])
    assert ask(make(tmp_path, 1, server.url)) == {"ok": 1}
    assert len(server.asked) == 3


def test_refused_request(tmp_path: Path, server: Server) -> None:
    error = failure(tmp_path, server, *[refusal(400, f"image too large for {KEY}")] * 2)
    assert error.startswith("request refused: ")
    assert "image too large for ***" in error


def test_a_lost_original(tmp_path: Path, server: Server) -> None:
    project = make(tmp_path, 2, server.url)
    (project.workspace.originals / "0.png").unlink()
    assert ask(project) == {"failed": 1, "ok": 1}
    assert answers(project)[0]["error"].startswith("picture: ")
    assert len(server.asked) == 1


def test_retries_help_over_short_trouble(tmp_path: Path, server: Server) -> None:
    server.queue.extend([busy(429), busy(500), answer()])
    assert ask(make(tmp_path, 1, server.url)) == {"ok": 1}
    assert len(server.asked) == 3


def test_retry_after_is_honoured(tmp_path: Path, server: Server) -> None:
    server.queue.append(refusal(429, "slow down", retry_after="2"))
    ask(make(tmp_path, 1, server.url))
    assert 1.95 < server.times[1] - server.times[0] < 4


def test_malformed_is_asked_once_more_with_rows_of_its_own(tmp_path: Path, server: Server) -> None:
    server.queue.append(says("It is water."))
    project = make(tmp_path, 1, server.url)
    assert ask(project) == {"ok": 1}
    assert [row["status"] for row in answers(project)] == ["malformed", "ok"]


def test_malformed_twice_is_recorded_and_left_to_the_next_run(
    tmp_path: Path, server: Server
) -> None:
    server.queue.extend([answer(), says("It is water."), Reply(body="<html>")])
    project = make(tmp_path, 2, server.url)
    assert ask(project) == {"malformed": 1, "ok": 1}
    assert len(server.asked) == 3
    assert ask(project) == {"ok": 2}


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_at_once(tmp_path: Path, server: Server, status: int) -> None:
    server.usual = refusal(status, f"Incorrect API key provided: {KEY}")
    project = make(tmp_path, 20, server.url, concurrency=2)
    with pytest.raises(PocketError, match=r"refused the key.*OPENAI_API_KEY") as caught:
        ask(project)
    assert caught.value.exit_code == 1
    assert KEY not in str(caught.value)
    assert len(server.asked) <= 2


def test_a_key_revoked_in_mid_run_keeps_what_is_in_flight(tmp_path: Path, server: Server) -> None:
    server.delay = 0.2
    server.queue.extend([*[answer()] * 6, refusal(401, "revoked")])
    project = make(tmp_path, 40, server.url, concurrency=4)
    with pytest.raises(PocketError, match="refused the key"):
        ask(project)
    rows = answers(project)
    assert len(rows) == len(server.asked) <= 11
    assert [row["status"] for row in rows].count("ok") == len(rows) - 1
    (failed,) = [row for row in rows if row["status"] == "failed"]
    assert failed["error"] == "key refused: 401 - revoked"
    assert failed["usd"] == 0


def test_a_403_after_answers_is_moderation_of_one_picture(tmp_path: Path, server: Server) -> None:
    server.delay = 0.05  # while it is asked about one picture the next one is made ready
    server.queue.extend([answer(), refusal(403, "not this one"), answer(), refusal(403, "no")])
    project = make(tmp_path, 4, server.url)
    assert ask(project) == {"ok": 3, "refused": 1}
    assert [row["status"] for row in answers(project)] == ["ok", "refused", "ok", "refused", "ok"]
    assert len(server.asked) == 5
    ask(project)
    assert len(server.asked) == 5


@pytest.mark.parametrize(
    "declined",
    [
        refusal(403, "Your chosen model requires moderation and your input was flagged"),
        refusal(403, "Content violates usage guidelines."),
        refusal(400, "The response was filtered", "content_filter"),
        refusal(400, "Input data may contain inappropriate content", "data_inspection_failed"),
    ],
)
def test_moderation_that_says_so_is_no_matter_of_the_key(
    tmp_path: Path, server: Server, declined: Reply
) -> None:
    """A run that goes on with such a picture would else stop at its first call, for ever."""
    server.delay = 0.05
    server.queue.extend([declined, answer(), declined])
    project = make(tmp_path, 2, server.url)
    assert ask(project) == {"ok": 1, "refused": 1}
    assert len(server.asked) == 3  # never without structured output


def test_a_key_that_may_ask_no_more_is_not_taken_for_moderation_for_ever(
    tmp_path: Path, server: Server
) -> None:
    server.queue.append(answer())
    server.usual = refusal(403, "blocked")
    with pytest.raises(PocketError, match=r"declined 10 pictures in a row.*403 - blocked.*the key"):
        ask(make(tmp_path, 50, server.url))
    assert len(server.asked) == 21


def test_an_account_without_credit_stops_at_once(tmp_path: Path, server: Server) -> None:
    server.queue.append(answer())
    server.usual = refusal(402, "Insufficient Balance")
    with pytest.raises(PocketError, match=r"no credit left.*402 - Insufficient Balance"):
        ask(make(tmp_path, 20, server.url))
    assert len(server.asked) == 2


def test_a_pause_also_holds_calls_that_are_about_to_be_sent(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call is refused while a slow disk takes in the intents of the others."""
    real = os.fsync

    def slow(file: int) -> None:
        time.sleep(0.2)
        real(file)

    monkeypatch.setattr(os, "fsync", slow)
    server.queue.append(refusal(429, "slow down", retry_after="1"))
    project = make(tmp_path, 4, server.url, concurrency=4)
    for number in (1, 2, 3):  # so large that the first call begins by itself
        Image.new("RGB", (3000, 3000)).save(project.workspace.originals / f"{number}.png")
    assert ask(project) == {"ok": 4}
    assert server.times[1] - server.times[0] > 0.95


LIMITED = "rate limit"


@pytest.mark.parametrize(
    "reply",
    [
        refusal(429, LIMITED, retry_after="7200"),
        refusal(503, "down for today", retry_after="7200"),
        Reply(body=BODY, headers={"RateLimit-Remaining": "0", "RateLimit-Reset": "7200"}),
    ],
    ids=["limit", "down", "quota"],
)
def test_who_is_to_wait_for_hours_is_told_so(tmp_path: Path, server: Server, reply: Reply) -> None:
    server.queue.extend([answer(), answer(), reply])
    project = make(tmp_path, 20, server.url)
    with pytest.raises(PocketError, match=r"asks to wait 2\.0 hours.*run the same command then"):
        ask(project)
    assert len(server.asked) == len(answers(project)) == 3


def test_limits_that_say_nothing_do_not_fail_a_question(tmp_path: Path, server: Server) -> None:
    """One call at a time finds out how long the limit lasts; however many tries that takes."""
    server.queue.extend([answer(), *[refusal(429, LIMITED)] * 2])
    project = make(tmp_path, 2, server.url, retries=1)
    assert ask(project) == {"ok": 2}
    assert [row["status"] for row in answers(project)] == ["ok", "failed", "failed", "ok"]


def test_questions_that_wait_for_another_try_do_not_pile_up(tmp_path: Path, server: Server) -> None:
    server.usual = refusal(500, "down")
    project = make(tmp_path, 200, server.url, concurrency=16, retries=1)
    with pytest.raises(PocketError, match="10 calls in a row failed"):
        ask(project)
    assert len({*server.images()}) <= 10 + 16 + 8  # concluded, in flight, waiting


def test_an_unknown_model_stops_at_once(tmp_path: Path, server: Server) -> None:
    server.usual = refusal(404, "The model does not exist", code="model_not_found")
    with pytest.raises(PocketError, match=r"knows no model 'stand-in'"):
        ask(make(tmp_path, 20, server.url))
    assert len(server.asked) == 2  # with and without structured output


def test_an_empty_account_stops_at_once(tmp_path: Path, server: Server) -> None:
    server.usual = refusal(429, "You exceeded your quota", "insufficient_quota", retry_after_ms="1")
    with pytest.raises(PocketError, match="no credit left"):
        ask(make(tmp_path, 20, server.url))


def test_nobody_there_stops_after_three(tmp_path: Path) -> None:
    with Server() as gone:
        url = gone.url
    started = time.monotonic()
    with pytest.raises(PocketError, match=re.escape(f"{url} cannot be reached")):
        ask(make(tmp_path, 50, url, retries=0))
    assert time.monotonic() - started < 5


def test_a_server_that_only_fails_is_not_asked_for_ever(tmp_path: Path, server: Server) -> None:
    server.usual = busy(500)
    project = make(tmp_path, 50, server.url, concurrency=2, retries=0)
    with pytest.raises(PocketError, match=r"10 calls in a row failed.*server error: 500 - busy"):
        ask(project)
    assert len(server.asked) <= 11


@pytest.mark.parametrize("reply", [says("It is water."), Reply(body="<html>Welcome</html>")])
def test_a_server_that_never_answers_in_json_is_not_paid_for_ever(
    tmp_path: Path, server: Server, reply: Reply
) -> None:
    server.usual = reply
    with pytest.raises(PocketError, match=r"10 calls in a row failed, the last with .*\w"):
        ask(make(tmp_path, 50, server.url))
    assert len(server.asked) == 20  # each is asked about once more


def test_what_has_failed_before_stops_no_later_run(tmp_path: Path, server: Server) -> None:
    """Else a dozen hopeless pictures would keep the stage from ever being done."""
    server.queue.append(answer())
    server.usual = says("It is water.")
    project = make(tmp_path, 13, server.url)
    with pytest.raises(PocketError, match="10 calls in a row failed"):
        ask(project)
    for _ in range(2):
        assert ask(project) == {"ok": 1, "malformed": 12}


def test_a_ledger_that_cannot_be_written_is_one_error(tmp_path: Path, server: Server) -> None:
    project = make(tmp_path, 20, server.url, concurrency=4)
    (tmp_path / "labels").write_text("a file where the folder should be")
    with pytest.raises(FileExistsError):
        ask(project)
    assert server.asked == []


def test_a_server_that_fails_now_and_then_is_asked_to_the_end(
    tmp_path: Path, server: Server
) -> None:
    server.queue.extend([*[busy(500)] * 9, answer()] * 2)
    assert ask(make(tmp_path, 30, server.url, retries=0)) == {"failed": 18, "ok": 12}


def test_lost_originals_do_not_stop_the_others(tmp_path: Path, server: Server) -> None:
    project = make(tmp_path, 20, server.url)
    for number in range(15):
        (project.workspace.originals / f"{number}.png").unlink()
    assert ask(project) == {"failed": 15, "ok": 5}


def test_a_run_without_any_label_is_an_error(tmp_path: Path, server: Server) -> None:
    server.usual = answer(label="none")
    with pytest.raises(PocketError, match="no picture got a label"):
        label(make(tmp_path, 3, server.url))


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000/v1",
        "ftp://host/v1",
        "http://",
        "http://[bad",
        "http://host:99999/v1",
        "http://host/v1\n",
        "http://\u2028/v1",
        "http://\u2603\u0640/v1",
    ],
)
def test_an_address_that_cannot_be_one(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="base_url: "):
        ask(make(tmp_path, 1, url))
