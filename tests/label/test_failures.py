"""Each way a call can fail has its own name, and the next run asks again."""

import re
import time
from pathlib import Path

import pytest

from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.label import label

from .conftest import KEY, answers, make
from .server import Reply, Server, answer, busy, refusal, says


def failure(tmp_path: Path, server: Server, *replies: Reply, **teacher: object) -> str:
    """The error of the first picture's row; the second picture is answered."""
    server.queue.extend(replies)
    project = make(tmp_path, 2, server.url, **teacher)
    assert label(project)["status"] == {"failed": 1, "ok": 1}
    first = answers(project)[0]
    assert first["status"] == "failed"
    server.queue.clear()
    before = len(server.asked)
    assert label(project)["status"] == {"ok": 2}
    assert len(server.asked) == before + 1
    return str(first["error"])


def test_rate_limited(tmp_path: Path, server: Server) -> None:
    error = failure(tmp_path, server, *[busy(429)] * 3)
    assert error == "rate limited: lower teacher.concurrency (429 - busy)"


def test_server_error(tmp_path: Path, server: Server) -> None:
    assert failure(tmp_path, server, *[busy(500)] * 3) == "server error: 500 - busy"


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
    assert error == "unreachable: no connection"


def test_half_a_body(tmp_path: Path, server: Server) -> None:
    half = Reply(body=answer().body, instead="half")
    assert failure(tmp_path, server, half, retries=0) == "unreachable: no connection"


def test_a_connection_that_breaks_is_tried_again(tmp_path: Path, server: Server) -> None:
    server.queue.extend([Reply(body=answer().body, instead="half"), Reply(instead="cut")])
    assert label(make(tmp_path, 1, server.url))["status"] == {"ok": 1}
    assert len(server.asked) == 3


def test_refused_request(tmp_path: Path, server: Server) -> None:
    error = failure(tmp_path, server, *[refusal(400, f"image too large for {KEY}")] * 2)
    assert error.startswith("request refused: ")
    assert "image too large for ***" in error


def test_a_lost_original(tmp_path: Path, server: Server) -> None:
    project = make(tmp_path, 2, server.url)
    (project.workspace.originals / "0.png").unlink()
    assert label(project)["status"] == {"failed": 1, "ok": 1}
    assert answers(project)[0]["error"].startswith("picture: ")
    assert len(server.asked) == 1


def test_retries_help_over_short_trouble(tmp_path: Path, server: Server) -> None:
    server.queue.extend([busy(429), busy(500), answer()])
    assert label(make(tmp_path, 1, server.url))["status"] == {"ok": 1}
    assert len(server.asked) == 3


def test_retry_after_is_honoured(tmp_path: Path, server: Server) -> None:
    server.queue.append(refusal(429, "slow down", retry_after="2"))
    label(make(tmp_path, 1, server.url))
    assert 1.95 < server.times[1] - server.times[0] < 4


def test_malformed_is_asked_once_more_with_rows_of_its_own(tmp_path: Path, server: Server) -> None:
    server.queue.append(says("It is water."))
    project = make(tmp_path, 1, server.url)
    assert label(project)["status"] == {"ok": 1}
    assert [row["status"] for row in answers(project)] == ["malformed", "ok"]


def test_malformed_twice_is_recorded_and_left_to_the_next_run(
    tmp_path: Path, server: Server
) -> None:
    server.queue.extend([says("It is water."), Reply(body="<html>")])
    project = make(tmp_path, 2, server.url)
    assert label(project)["status"] == {"malformed": 1, "ok": 1}
    assert len(server.asked) == 3
    assert label(project)["status"] == {"ok": 2}


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_at_once(tmp_path: Path, server: Server, status: int) -> None:
    server.usual = refusal(status, f"Incorrect API key provided: {KEY}")
    project = make(tmp_path, 20, server.url, concurrency=2)
    with pytest.raises(PocketError, match=r"refused the key.*OPENAI_API_KEY") as caught:
        label(project)
    assert caught.value.exit_code == 1
    assert KEY not in str(caught.value)
    assert len(server.asked) <= 2


def test_an_unknown_model_stops_at_once(tmp_path: Path, server: Server) -> None:
    server.usual = refusal(404, "The model does not exist", code="model_not_found")
    with pytest.raises(PocketError, match=r"knows no model 'stand-in'"):
        label(make(tmp_path, 20, server.url))
    assert len(server.asked) == 2  # with and without structured output


def test_an_empty_account_stops_at_once(tmp_path: Path, server: Server) -> None:
    server.usual = refusal(429, "You exceeded your quota", "insufficient_quota", retry_after_ms="1")
    with pytest.raises(PocketError, match="no credit left"):
        label(make(tmp_path, 20, server.url))


def test_nobody_there_stops_after_three(tmp_path: Path) -> None:
    with Server() as gone:
        url = gone.url
    started = time.monotonic()
    with pytest.raises(PocketError, match=re.escape(f"{url} cannot be reached")):
        label(make(tmp_path, 50, url, retries=0))
    assert time.monotonic() - started < 5


def test_a_server_that_only_fails_is_not_asked_for_ever(tmp_path: Path, server: Server) -> None:
    server.usual = busy(500)
    project = make(tmp_path, 50, server.url, concurrency=2, retries=0)
    with pytest.raises(PocketError, match=r"10 calls in a row failed.*server error: 500 - busy"):
        label(project)
    assert len(server.asked) <= 11


@pytest.mark.parametrize("reply", [says("It is water."), Reply(body="<html>Welcome</html>")])
def test_a_server_that_never_answers_in_json_is_not_paid_for_ever(
    tmp_path: Path, server: Server, reply: Reply
) -> None:
    server.usual = reply
    with pytest.raises(PocketError, match=r"10 calls in a row failed, the last with .*\w"):
        label(make(tmp_path, 50, server.url))
    assert len(server.asked) == 20  # each is asked about once more


def test_a_ledger_that_cannot_be_written_is_one_error(tmp_path: Path, server: Server) -> None:
    project = make(tmp_path, 20, server.url, concurrency=4)
    (tmp_path / "labels").write_text("a file where the folder should be")
    with pytest.raises(FileExistsError):
        label(project)
    assert server.asked == []


def test_a_server_that_fails_now_and_then_is_asked_to_the_end(
    tmp_path: Path, server: Server
) -> None:
    server.queue.extend([*[busy(500)] * 9, answer()] * 2)
    figures = label(make(tmp_path, 30, server.url, retries=0))
    assert figures["status"] == {"failed": 18, "ok": 12}


def test_lost_originals_do_not_stop_the_others(tmp_path: Path, server: Server) -> None:
    project = make(tmp_path, 20, server.url)
    for number in range(15):
        (project.workspace.originals / f"{number}.png").unlink()
    assert label(project)["status"] == {"failed": 15, "ok": 5}


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
    with pytest.raises(ConfigError, match=r"teacher\.base_url"):
        label(make(tmp_path, 1, url))
