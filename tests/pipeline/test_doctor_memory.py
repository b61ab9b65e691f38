"""Doctor: whether the student fits into memory."""

from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from shutil import copyfile

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketvlm.config import Config
from pocketvlm.demo.demo import BASE
from pocketvlm.nvidia import Card
from pocketvlm.pipeline.doctor import memory
from pocketvlm.pipeline.doctor.found import Found
from pocketvlm.pipeline.doctor.memory import available, check_memory, needed
from pocketvlm.pipeline.doctor.student_sizes import StudentSizes
from pocketvlm.project import Project
from pocketvlm.workspace import read_json, write_json
from tests.pipeline.examined import ALL, project

Memory = namedtuple("Memory", "available")
Swap = namedtuple("Swap", "free")


def examined(
    root: Path, monkeypatch: pytest.MonkeyPatch, free: int, layers: int = 400, **sections: object
) -> Found:
    """The demo's base with many more layers: 81 million numbers of text, 0.3 GB."""
    model = root / "large"
    model.mkdir()
    copyfile(BASE / "tokenizer.json", model / "tokenizer.json")
    config = read_json(BASE / "config.json")
    config["text_config"]["num_hidden_layers"] = layers
    write_json(model / "config.json", config)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(free))
    monkeypatch.setattr(psutil, "swap_memory", lambda: Swap(0))
    found = Found(project(root, **sections), ALL, model=model)
    check_memory(found)
    return found


def test_enough_memory_is_a_fact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = examined(tmp_path, monkeypatch, 16_000_000_000)
    assert (found.problems, found.warnings) == ([], [])
    stages = found.facts["memory"]["stages"]
    assert set(stages) == {"train", "merge", "convert", "validate"}
    assert all(row["least_gb"] <= row["usual_gb"] for row in stages.values())


def test_tight_memory_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = examined(tmp_path, monkeypatch, 800_000_000)
    assert not found.problems
    assert any("merge takes about" in warning for warning in found.warnings)


def test_less_than_what_is_computed_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = examined(tmp_path, monkeypatch, 200_000_000)
    said = " | ".join(map(str, found.problems))
    assert "merge takes about" in said and "at the very least" in said


def test_a_full_card_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = examined(tmp_path, monkeypatch, 16_000_000_000)
    found.card = Card("NVIDIA L4", 24_000_000_000, 100_000_000)
    check_memory(found)
    assert any("of NVIDIA L4, which has 0.1 GB free" in warning for warning in found.warnings)


def test_a_container_has_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(16_000_000_000))
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert available() == 16_000_000_000
    (tmp_path / "memory.current").write_text("3000000000\n")
    (tmp_path / "memory.stat").write_text("anon 1000000000\ninactive_file 2000000000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert available() == 16_000_000_000
    (tmp_path / "memory.max").write_text("4000000000\n")
    assert available() == 3_000_000_000


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 64), st.integers(1, 64))
def test_more_layers_never_need_less(one: int, other: int) -> None:
    found = Found(Project.of(Config(), Path("/nonexistent")), ALL)
    student = StudentSizes.read(BASE, 256)

    def grown(layers: int) -> StudentSizes:
        text = replace(student.architecture.text, layers=layers)
        return replace(student, architecture=replace(student.architecture, text=text))

    few, many = (needed(found, grown(layers)) for layers in sorted((one, other)))
    assert all(few[stage].least <= many[stage].least for stage in few)
    assert all(few[stage].usual <= many[stage].usual for stage in few)
