"""The command's work: refuse early, serve until Ctrl-C, count."""

import signal
import socket

import httpx
import pytest

from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.review import review
from pocketvlm.review.review import listen
from pocketvlm.workspace import read_json

from .conftest import Make, hashes, reviews, started


def test_labels_of_a_file_are_not_reviewed(make: Make) -> None:
    project = make([{}], prepare={"custom": "labels.jsonl"})
    with pytest.raises(ConfigError, match=r"prepare\.custom"):
        review(project, open_page=False)


def test_before_labelling_there_is_nothing_to_review(make: Make) -> None:
    with pytest.raises(PocketError, match="pocketvlm label"):
        review(make([]), open_page=False)


def test_a_taken_port_is_named(make: Make) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PocketError, match=f"port {port} cannot be used"):
            review(make([{}]), port, open_page=False)


def test_the_port_of_the_last_time_is_taken_again_if_it_is_free(make: Make) -> None:
    project = make([{}])
    with listen(project, 0) as first:
        port = first.getsockname()[1]
        assert read_json(project.workspace.root / "state" / "review.json") == {"port": port}
        with listen(project, 0) as second:
            assert second.getsockname()[1] != port
            last = second.getsockname()[1]
    with listen(project, 0) as third:
        assert third.getsockname() == ("127.0.0.1", last)


@pytest.mark.slow
def test_it_serves_until_ctrl_c_and_counts(make: Make) -> None:
    project = make([{}] * 3)
    program, url = started(project.workspace.root)
    base, sha256 = url.split("/?")[0], hashes(project)[1]
    with httpx.Client(base_url=base, headers={"Origin": base}) as client:
        client.get(url)
        made = [{"picture": sha256, "decision": "relabel", "label": "fire"}]
        board = client.get("/api/board").json()["board"]
        sent = {"board": board, "window": "abcdef01", "first": 0, "since": 0, "decisions": made}
        assert client.post("/api/exchange", json=sent).status_code == 200
        assert client.get("/nothing?token=guess").status_code == 404
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=20)
    assert program.returncode == 0
    assert "'reviewed': 1, 'accepted': 0, 'relabelled': 1, 'rejected': 0, 'left': 2" in out
    assert reviews(project) == [(1, "relabel", "fire")]
    token = url.split("token=")[1]
    assert token not in out + err  # once, where it was printed
    assert "Traceback" not in err
