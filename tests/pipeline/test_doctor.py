"""Doctor: facts, and everything that would fail later, at once."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pocketvlm.config import parse_config
from pocketvlm.demo.demo import BASE
from pocketvlm.pipeline.doctor import examine
from pocketvlm.project import Project
from tests.pipeline.conftest import draw_pictures
from tests.test_cli import pocketvlm

KEY = "POCKETVLM_TEST_KEY"


def project(root: Path, **sections: Any) -> Project:
    """Pictures, the demo's base and a teacher that needs a key."""
    draw_pictures(root / "pictures", 2)
    config = {"base": {"model": str(BASE)}, "teachers": [{"api_key_env": KEY}]}
    return Project.of(parse_config(config | sections), root)


def test_a_sound_project_has_no_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "sk-planted-0123456789")
    facts, problems = examine(project(tmp_path))
    assert problems == []
    assert facts["files"] == 2
    assert facts["runtime"]["package"].startswith("llama-cpp-python")
    assert "planted" not in json.dumps(facts)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    _, problems = examine(
        project(tmp_path, base={"model": "../nowhere"}, collect={"folder": "nothing"})
    )
    told = " | ".join(map(str, problems))
    assert len(problems) == 3
    assert "base.model" in told and "collect.folder" in told and f"put {KEY}=" in told


def test_a_teacher_on_this_machine_needs_no_key(tmp_path: Path) -> None:
    teacher = {"api_key_env": KEY, "base_url": "http://localhost:8000/v1"}
    facts, problems = examine(project(tmp_path, teachers=[teacher]))
    assert problems == []
    assert "not needed" in facts["teachers"][0]["key"]


def test_an_empty_folder_of_pictures_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    _, problems = examine(project(tmp_path, collect={"folder": "empty"}))
    assert any("empty: put pictures in" in str(problem) for problem in problems)


def test_a_missing_custom_dataset_is_a_problem(tmp_path: Path) -> None:
    _, problems = examine(project(tmp_path, prepare={"custom": "labels.json"}))
    assert [str(p) for p in problems] == [
        f"prepare.custom: {tmp_path / 'labels.json'} does not exist"
    ]


def test_the_command_ends_with_the_problems_exit_code(tmp_path: Path) -> None:
    config = {"base": {"model": str(BASE)}, "teachers": [{"api_key_env": KEY}]}
    (tmp_path / "pocketvlm.yaml").write_text(yaml.safe_dump(config))
    done = pocketvlm("doctor", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert len(json.loads(done.stdout)["problems"]) == 2
