"""Doctor: a key is missing only where somebody asks for one."""

from pathlib import Path
from typing import Any

import pytest

from pocketvlm.errors import ConfigError
from pocketvlm.pipeline.doctor import teachers
from pocketvlm.pipeline.doctor.found import Found
from pocketvlm.pipeline.doctor.teachers import check_teachers
from tests.pipeline.examined import KEY, asked, project
from tests.pipeline.models_server import ModelsServer

FREE = {"input_usd": 0, "output_usd": 0, "source": "https://x.org", "date": "2026-01-01"}


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers' address is as good as any other machine's."""
    monkeypatch.setattr(teachers, "LOOPBACK", ())
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def found_at(root: Path, server: ModelsServer, usd: float = 0.0) -> Found:
    """What is found of a teacher there without a key."""
    price: dict[str, Any] = FREE | {"input_usd": usd}
    price |= {"image": {"rule": "fixed", "tokens": 100}}
    teacher = {"base_url": server.url, "model": "seer", "api_key_env": KEY}
    return asked(check_teachers, project(root, teachers=[teacher], prices={"seer": price}))


@pytest.mark.usefixtures("elsewhere")
def test_a_server_in_the_house_needs_no_key(tmp_path: Path) -> None:
    with ModelsServer("seer") as server:
        found = found_at(tmp_path, server)
    assert (found.problems, found.warnings) == ([], [])
    assert found.facts["teachers"][0]["key"] == "none, not asked for"


@pytest.mark.parametrize("status", [401, 403])
def test_one_that_asks_for_a_key_gets_one(tmp_path: Path, status: int) -> None:
    with ModelsServer() as server:
        server.status = status
        found = found_at(tmp_path, server)
    [problem] = found.problems
    assert isinstance(problem, ConfigError) and f"put {KEY}=" in str(problem)
    assert found.facts["teachers"][0]["key"] == "none"


def test_nobody_there_and_no_key_is_one_line(tmp_path: Path) -> None:
    [problem] = asked(check_teachers, project(tmp_path)).problems
    assert "cannot be reached" in str(problem) and f"put {KEY}=" in str(problem)


@pytest.mark.usefixtures("elsewhere")
def test_a_server_that_says_nothing_may_want_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teachers, "READ", 0.3)
    with ModelsServer() as server:
        server.instead = "hang"
        [problem] = found_at(tmp_path, server).problems
    assert "says nothing" in str(problem) and f"put {KEY}=" in str(problem)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("status", [200, 404])
def test_no_key_where_somebody_pays_is_a_warning(tmp_path: Path, status: int) -> None:
    with ModelsServer("seer") as server:
        server.status = status
        found = found_at(tmp_path, server, usd=1.0)
    [warning] = found.warnings
    assert not found.problems and "has a price" in warning and f"put {KEY}=" in warning


def test_each_missing_key_is_named(tmp_path: Path) -> None:
    with ModelsServer() as server:
        server.status = 401
        here = {"base_url": server.url}
        two = [here | {"model": name, "api_key_env": f"{KEY}_{name}"} for name in ("A", "B")]
        found = asked(check_teachers, project(tmp_path, teachers=two))
    assert [f"{KEY}_{name}=" in str(p) for name, p in zip("AB", found.problems, strict=True)] == [
        True
    ] * 2
