"""Doctor: whether each teacher's endpoint answers, for nothing and within seconds."""

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from pocketvlm.errors import ConfigError
from pocketvlm.pipeline.doctor import teachers
from pocketvlm.pipeline.doctor.found import Found
from pocketvlm.pipeline.doctor.teachers import check_teachers
from tests.pipeline.examined import KEY, asked, project
from tests.pipeline.models_server import ModelsServer

SECRET = "sk-planted-0123456789"

PRICED = "gpt-6-luna"
"""A model whose price is known by itself."""


def found_at(root: Path, url: str, model: str = "seer-2", **teacher: Any) -> Found:
    """What is found of one teacher there."""
    settings = {"base_url": url, "model": model, "api_key_env": KEY} | teacher
    return asked(check_teachers, project(root, teachers=[settings]))


def test_a_model_that_is_not_listed_is_a_warning_with_near_names(tmp_path: Path) -> None:
    with ModelsServer("seer-2.5", "seer-1", "whisper") as server:
        found = found_at(tmp_path, server.url)
    assert not found.problems
    [warning] = found.warnings
    assert "'seer-2'" in warning and "seer-2.5" in warning and "whisper" not in warning


def test_a_listed_model_is_a_fact_without_a_warning(tmp_path: Path) -> None:
    with ModelsServer("seer-1", "seer-2") as server:
        found = found_at(tmp_path, server.url)
    assert (found.problems, found.warnings) == ([], [])
    assert found.facts["teachers"][0]["endpoint"] == "answers, 2 models"


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_without_a_list_is_fine(tmp_path: Path, status: int) -> None:
    with ModelsServer() as server:
        server.status = status
        found = found_at(tmp_path, server.url)
    assert (found.problems, found.warnings) == ([], [])


@pytest.mark.parametrize("body", ["<html>sign in</html>", "[]", '{"data": 3}', '{"data": [{}]}'])
def test_another_body_is_no_list(tmp_path: Path, body: str) -> None:
    with ModelsServer() as server:
        server.body = body
        found = found_at(tmp_path, server.url)
    assert (found.problems, found.warnings) == ([], [])
    assert found.facts["teachers"][0]["endpoint"] == "answers, without a list of models"


def test_a_refused_key_is_a_problem_that_does_not_show_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, SECRET)
    with ModelsServer() as server:
        server.status, server.body = 401, f"wrong key {SECRET}"
        found = found_at(tmp_path, server.url)
    [problem] = found.problems
    assert isinstance(problem, ConfigError)
    assert KEY in str(problem) and "401" in str(problem)
    assert SECRET not in f"{problem} {found.facts} {found.warnings}"


def test_a_key_that_may_not_list_models_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, SECRET)
    with ModelsServer() as server:
        server.status, server.body = 403, f"{SECRET} may not"
        found = found_at(tmp_path, server.url)
    [warning] = found.warnings
    assert not found.problems and KEY in warning and "403" in warning
    assert SECRET not in f"{found.facts} {warning}"


def test_a_server_in_trouble_is_a_warning(tmp_path: Path) -> None:
    with ModelsServer() as server:
        server.status = 503
        found = found_at(tmp_path, server.url)
    assert not found.problems and "503" in found.warnings[0]


def test_nobody_there_is_a_problem(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else gets the port
        taken.bind(("127.0.0.1", 0))
        found = found_at(tmp_path, f"http://127.0.0.1:{taken.getsockname()[1]}/v1")
    assert "cannot be reached" in str(found.problems[0]) and "refused" in str(found.problems[0])


def test_a_name_that_does_not_exist_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, SECRET)
    found = found_at(tmp_path, "https://teacher.invalid/v1", PRICED)
    assert "https://teacher.invalid/v1 cannot be reached" in str(found.problems[0])


def test_tls_that_fails_is_a_problem(tmp_path: Path) -> None:
    with ModelsServer() as server:
        found = found_at(tmp_path, server.url.replace("http:", "https:"))
    assert "cannot be reached" in str(found.problems[0]) and "SSL" in str(found.problems[0])


@pytest.mark.parametrize("instead", ["hang", "dribble"])
def test_a_server_that_never_ends_holds_nobody_up(
    tmp_path: Path, instead: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teachers, "READ", 0.3)
    monkeypatch.setattr(teachers, "WHOLE", 1.0)
    with ModelsServer() as server:
        server.instead = instead
        started = time.monotonic()
        found = found_at(tmp_path, server.url)
        seconds = time.monotonic() - started
    assert not found.problems
    assert len(found.warnings) == (instead == "hang")
    assert seconds < 5


def test_a_name_server_that_hangs_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, SECRET)
    monkeypatch.setattr(teachers, "WHOLE", 0.3)
    with ModelsServer() as server:

        def hang(*_: object, **__: object) -> None:
            server.closing.wait()
            raise socket.gaierror("at last")

        monkeypatch.setattr(socket, "getaddrinfo", hang)
        found = found_at(tmp_path, "https://teacher.invalid/v1", PRICED)
    assert "nothing within 0.3 s" in str(found.problems[0])


def test_each_teacher_has_its_own_problem_and_one_server_is_asked_once(tmp_path: Path) -> None:
    with ModelsServer("a", "b") as server:
        here = {"base_url": server.url, "api_key_env": KEY}
        away = {"base_url": "https://teacher.invalid/v1", "api_key_env": KEY}
        all_three = [here | {"model": "a"}, here | {"model": "b"}, away | {"model": "c"}]
        found = asked(check_teachers, project(tmp_path, teachers=all_three))
    assert len(server.asked) == 1
    told = " | ".join(map(str, found.problems))
    assert "the price of 'c'" in told and f"put {KEY}=" in told and "cannot be reached" in told
    endpoints = [row.get("endpoint") for row in found.facts["teachers"]]
    assert endpoints == ["answers, 2 models", "answers, 2 models", None]


def test_a_key_is_not_carried_to_another_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, SECRET)
    with ModelsServer("seer-2") as other, ModelsServer() as server:
        server.status, server.location = 307, f"{other.url}/models"
        found = found_at(tmp_path, server.url)
    assert other.asked == [("/v1/models", None)]
    assert not found.problems
