"""Models that take no temperature, or another name of the limit, are asked their way."""

from pathlib import Path

from pocketvlm.label import label

from .conftest import make
from .server import Server, unsupported


def test_refused_parameters_are_left_out_from_then_on(tmp_path: Path, server: Server) -> None:
    server.queue.extend([unsupported("max_tokens"), unsupported("temperature")])
    project = make(tmp_path, 3, server.url, max_tokens=99, retries=0, concurrency=1)
    assert label(project)["status"] == {"ok": 3}
    assert len(server.asked) == 5
    for request in server.asked[2:]:
        assert request["max_completion_tokens"] == 99
        assert "max_tokens" not in request and "temperature" not in request
        assert "response_format" in request  # structured output is not given up for it


def test_a_parameter_refused_under_both_names_is_an_error(tmp_path: Path, server: Server) -> None:
    """Once with structured output, once more without it."""
    names = ("max_tokens", "max_completion_tokens", "max_completion_tokens")
    server.queue.extend(unsupported(name) for name in names)
    project = make(tmp_path, 2, server.url, retries=0, concurrency=1)
    assert label(project)["status"] == {"failed": 1, "ok": 1}


def test_calls_that_are_refused_together_all_learn_it(tmp_path: Path, server: Server) -> None:
    """The first of them learns it while the others are in flight: none of them fails."""
    server.delay = 0.1
    server.queue.extend([unsupported("max_tokens")] * 4 + [unsupported("temperature")] * 4)
    project = make(tmp_path, 8, server.url, retries=0, concurrency=4)
    assert label(project)["status"] == {"ok": 8}
    assert len(server.asked) == 16
