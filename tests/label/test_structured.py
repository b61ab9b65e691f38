"""Structured output is asked for first; servers without it are asked in plain text."""

from pathlib import Path

import pytest

from pocketvlm.label import label
from pocketvlm.label.prompt import answer_schema, build_prompt

from .conftest import make
from .server import Server, refusal


def test_the_schema_is_sent(tmp_path: Path, server: Server) -> None:
    label(make(tmp_path, 1, server.url))
    (request,) = server.asked
    assert request["response_format"]["type"] == "json_schema"
    assert request["response_format"]["json_schema"]["strict"] is True


def test_the_question_arrives_as_it_is_built(tmp_path: Path, server: Server) -> None:
    project = make(tmp_path, 1, server.url, temperature=0.5, max_tokens=99)
    label(project)
    (request,) = server.asked
    (message,) = request["messages"]
    assert message["content"][0] == {"type": "text", "text": build_prompt(project.config.task)}
    assert request["response_format"]["json_schema"]["schema"] == answer_schema(project.config.task)
    sampling = {"model": "stand-in", "temperature": 0.5, "max_tokens": 99}
    assert request.items() >= sampling.items()


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "response_format is not supported"),
        (400, "json_schema: unknown field"),
        (404, "no such feature"),
        (422, "Extra inputs are not permitted"),
        (501, "not implemented"),
    ],
)
def test_a_server_without_it_is_asked_once_only(
    tmp_path: Path, server: Server, status: int, message: str
) -> None:
    server.queue.append(refusal(status, message))
    project = make(tmp_path, 3, server.url, retries=0)
    assert label(project)["status"] == {"ok": 3}
    asked = ["response_format" in request for request in server.asked]
    assert asked == [True, False, False, False]


def test_one_bad_picture_does_not_turn_it_off(tmp_path: Path, server: Server) -> None:
    server.queue.extend([refusal(400, "cannot decode the image")] * 2)
    assert label(make(tmp_path, 3, server.url))["status"] == {"failed": 1, "ok": 2}
    asked = ["response_format" in request for request in server.asked]
    assert asked == [True, False, True, True]


def test_it_can_be_turned_off(tmp_path: Path, server: Server) -> None:
    label(make(tmp_path, 2, server.url, structured=False))
    assert not any("response_format" in request for request in server.asked)


def test_calls_that_are_refused_together_all_learn_it(tmp_path: Path, server: Server) -> None:
    """The first of them learns it while the others are in flight: none of them fails."""
    server.delay = 0.1
    server.queue.extend([refusal(400, "response_format is not supported")] * 4)
    project = make(tmp_path, 8, server.url, retries=0, concurrency=4)
    assert label(project)["status"] == {"ok": 8}
    assert len(server.asked) == 12
