"""Before a run: what the stages that are due need, everything missing at once."""

from collections.abc import Sequence
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from pocketvlm.demo.demo import BASE
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.pipeline.doctor import check_ready, checks
from pocketvlm.pipeline.doctor.found import Found
from pocketvlm.pipeline.stages import STAGES, Stage
from pocketvlm.project import Project
from tests.pipeline.examined import KEY, project
from tests.pipeline.models_server import ModelsServer


def stages(*names: str) -> Sequence[Stage]:
    """Some stages by name."""
    return [stage for stage in STAGES if stage.name in names]


@pytest.fixture
def mute(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would be said."""
    said: list[str] = []
    monkeypatch.setattr(checks, "say", said.append)
    return said


def with_server(root: Path, server: ModelsServer, **sections: Any) -> Project:
    """A project whose teacher is the server."""
    teacher = {"api_key_env": KEY, "base_url": server.url, "model": "seer"}
    return project(root, teachers=[teacher], **sections)


def test_everything_missing_is_one_error_a_line_each(tmp_path: Path) -> None:
    lacking = project(tmp_path, base={"model": "../nowhere"}, collect={"folder": "nothing"})
    with pytest.raises(ConfigError) as raised:
        check_ready(lacking, STAGES)
    first, *lines = str(raised.value).splitlines()
    assert first == "3 things are missing:"
    starts = ("collect.folder: ", "base.model: ", "https://teacher.invalid/v1 cannot")
    assert [line.strip().startswith(start) for line, start in zip(lines, starts, strict=True)] == [
        True
    ] * 3


def test_one_thing_missing_is_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(PocketError, match=r"^base.model: .*nor a hub id$") as raised:
        check_ready(project(tmp_path, base={"model": "../nowhere"}), stages("train"))
    assert raised.value.exit_code == 2


def test_a_broken_base_alone_is_no_wrong_configuration(tmp_path: Path) -> None:
    (copytree(BASE, tmp_path / "base") / "model.safetensors").unlink()
    with pytest.raises(PocketError, match="no complete model folder") as raised:
        check_ready(project(tmp_path, base={"model": "base"}), stages("train"))
    assert raised.value.exit_code == 1


def test_training_asks_no_teacher(tmp_path: Path, mute: list[str]) -> None:
    with ModelsServer() as server:
        check_ready(with_server(tmp_path, server), stages("train", "merge", "convert", "validate"))
        assert server.asked == []


def test_labelling_looks_for_no_base(tmp_path: Path, mute: list[str]) -> None:
    with ModelsServer("seer") as server:
        lacking = with_server(tmp_path, server, base={"model": "../nowhere"})
        check_ready(lacking, stages("collect", "label", "prepare"))
        assert len(server.asked) == 1


def test_a_finished_collection_needs_no_folder(tmp_path: Path, mute: list[str]) -> None:
    check_ready(project(tmp_path, collect={"folder": "gone"}), stages("train", "bundle"))


def test_nothing_due_asks_nothing(tmp_path: Path) -> None:
    check_ready(project(tmp_path, base={"model": "../nowhere"}), [])


def test_warnings_are_said_and_stop_nothing(tmp_path: Path, mute: list[str]) -> None:
    with ModelsServer("seer-2") as server:
        check_ready(with_server(tmp_path, server), stages("label"))
    assert len(mute) == 1 and mute[0].startswith("WARNING: ") and "seer-2" in mute[0]


def test_a_long_question_is_found_before_anything_is_paid(tmp_path: Path) -> None:
    task = {"question": "Is this water, land, fire, wood or metal? " * 150}
    with pytest.raises(ConfigError, match=r"the\s+context holds 2048"):
        check_ready(project(tmp_path, task=task), stages("train"))


def test_a_check_that_fails_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_: Found) -> None:
        raise PermissionError(13, "Permission denied", "/some/where")

    monkeypatch.setattr(checks, "CHECKS", ((closed, ("train",)), *checks.CHECKS))
    with pytest.raises(ConfigError) as raised:
        check_ready(project(tmp_path, base={"model": "../nowhere"}), stages("train"))
    assert "/some/where: Permission denied" in str(raised.value)
    assert "base.model" in str(raised.value)


def test_a_source_that_is_due_needs_its_key_though_pictures_are_there(tmp_path: Path) -> None:
    unsplash = {"queries": {"water": ["sea"]}, "api_key_env": "POCKETVLM_NO_SUCH_KEY"}
    made = project(tmp_path, collect={"unsplash": unsplash})
    made.workspace.originals.mkdir()
    made.workspace.index.write_text("")
    with pytest.raises(ConfigError, match="POCKETVLM_NO_SUCH_KEY"):
        check_ready(made, stages("collect"))
