"""Doctor: facts, and everything that would fail later, at once."""

import json
import os
from pathlib import Path

import pytest
import yaml

from pocketvlm.demo.demo import BASE
from pocketvlm.errors import PocketError
from pocketvlm.pipeline.doctor import examine
from pocketvlm.pipeline.doctor.disk import check_writable
from tests.pipeline.examined import KEY, project
from tests.pipeline.models_server import ModelsServer
from tests.test_cli import pocketvlm


def test_a_sound_project_has_no_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "sk-planted-0123456789")
    with ModelsServer("seer") as server:
        teacher = {"api_key_env": KEY, "base_url": server.url, "model": "seer"}
        facts, problems = examine(project(tmp_path, teachers=[teacher]))
    assert (problems, facts["warnings"]) == ([], [])
    assert facts["files"] == 2
    assert facts["runtime"]["package"].startswith("llama-cpp-python")
    assert facts["layout"].count("[16]") == 2
    assert "planted" not in json.dumps(facts)
    assert server.asked == [("/v1/models", "Bearer sk-planted-0123456789")]


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    _, problems = examine(
        project(
            tmp_path,
            base={"model": "../nowhere"},
            collect={"folder": "nothing"},
            validate={"truth": "known", "truth_file": "truth.jsonl"},
        )
    )
    told = " | ".join(map(str, problems))
    assert len(problems) == 4
    assert "base.model" in told and "collect.folder" in told and f"put {KEY}=" in told
    assert "teacher.invalid/v1 cannot be reached" in told and "truth.jsonl does not exist" in told


def test_an_empty_folder_of_pictures_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    _, problems = examine(project(tmp_path, collect={"folder": "empty"}))
    assert any("empty: put pictures in" in str(problem) for problem in problems)


def test_a_missing_custom_dataset_is_a_problem(tmp_path: Path) -> None:
    _, problems = examine(project(tmp_path, prepare={"custom": "labels.json"}))
    assert [str(p) for p in problems] == [
        f"prepare.custom: {tmp_path / 'labels.json'} does not exist"
    ]


def test_a_key_that_others_may_read_is_told_once(tmp_path: Path) -> None:
    open_file = tmp_path / ".env"
    open_file.write_text(f"{KEY}=sk-planted-0123456789\n")
    open_file.chmod(0o644)
    teachers = [
        {"api_key_env": KEY, "base_url": "http://127.0.0.1:9/v1", "model": one}
        for one in ("a", "b")
    ]
    _, problems = examine(project(tmp_path, teachers=teachers))
    told = [str(problem) for problem in problems if "chmod 600" in str(problem)]
    assert len(told) == 1 and "planted" not in str(problems)


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(PocketError, match="cannot be written"):
            check_writable(tmp_path)
    finally:
        if root:
            os.seteuid(0)
        tmp_path.chmod(0o755)
    check_writable(tmp_path)


def test_the_command_ends_with_the_problems_exit_code(tmp_path: Path) -> None:
    teacher = {"api_key_env": KEY, "base_url": "https://teacher.invalid/v1"}
    config = {"base": {"model": str(BASE)}, "teachers": [teacher]}
    (tmp_path / "pocketvlm.yaml").write_text(yaml.safe_dump(config))
    done = pocketvlm("doctor", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert len(json.loads(done.stdout)["problems"]) == 2
