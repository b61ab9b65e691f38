"""More candidates of what is thin, as many as the hits so far make likely to be enough."""

from pathlib import Path
from typing import Any

import pytest

from pocketvlm.config import parse_config
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.label.ledger import append
from pocketvlm.label.plan import question_key
from pocketvlm.pipeline import STAGES, alone, why
from pocketvlm.pipeline.topup import hit_rates, top_up
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_rows
from tests.collect.conftest import save
from tests.collect.test_sources import WANTED, shelf


def project_of(root: Path, **collect: Any) -> Project:
    """Ten candidates of a data set with two labels' worth of lakes and stoves."""
    shelf(root, {"lake": 60, "stove": 60})
    hub = {"dataset": "shelf", "wanted": WANTED, "pictures": 20}
    return Project.of(parse_config({"collect": {"hub": hub, "aim": 10} | collect}), root)


def say_all(project: Project, wrong: int = 0) -> None:
    """The teacher agrees with what was sought, but for the first `wrong` pictures of water."""
    answers: list[Row] = []
    for row in read_rows(project.workspace.index):
        wrong -= (miss := row["sought"] == "water" and wrong > 0)
        label = "land" if miss else row["sought"]
        key = question_key(project.config, 0, row["sha256"])
        answers.append(
            {"kind": "answer", "key": key, "status": "ok", "label": label, "confidence": 0.9}
        )
    append(project.workspace.answers, answers)


def test_what_is_missing_is_sought_at_the_rate_of_hits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = project_of(tmp_path)
    alone(project, STAGES[0])
    say_all(project, wrong=6)  # 4 of 10 lakes are water; all 10 stoves fire
    figures = top_up(project)
    # 6 of water are missing; (4 + 1) of (10 + 2) candidates hit: 15. wood, land, metal: not sought.
    assert figures["sought"]["water"] == 15
    assert "fire" not in figures["sought"]
    assert figures["new"] == 15
    assert "water: 4 of 10; 15 candidates are sought, because 42% turn out to be it" in " ".join(
        capsys.readouterr().err.split()
    )
    with pytest.raises(PocketError, match="15 pictures have no answer yet"):
        top_up(project)
    assert why(project, STAGES[0]) is None  # the manifest is that of the last run


def test_enough_is_said_and_nothing_fetched(tmp_path: Path) -> None:
    project = project_of(tmp_path, aim=10)
    alone(project, STAGES[0])
    say_all(project, wrong=10)
    before = project.workspace.index.read_bytes()
    task = {"labels": {"land": "", "fire": ""}, "question": "land or fire?"}
    hub = {"dataset": "shelf", "wanted": {"land": ["lake"], "fire": ["stove"]}, "pictures": 20}
    two = Project.of(parse_config({"task": task, "collect": {"hub": hub, "aim": 10}}), tmp_path)
    for row in read_rows(two.workspace.index):
        key = question_key(two.config, 0, row["sha256"])
        label = "fire" if row["sought"] == "fire" else "land"
        row = {"kind": "answer", "key": key, "status": "ok", "label": label, "confidence": 0.9}
        append(two.workspace.answers, [row])
    assert top_up(two) == {"sought": {}}
    assert project.workspace.index.read_bytes() == before


def test_without_an_aim_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"collect\.aim is empty"):
        top_up(project_of(tmp_path, aim=None))


def test_what_no_source_can_be_searched_for_is_named(tmp_path: Path) -> None:
    project = project_of(tmp_path, hub={"dataset": "shelf", "pictures": 20, "wanted": {}})
    alone(project, STAGES[0])
    say_all_as(project, "water")
    with pytest.raises(ConfigError, match="no source can be searched for land, fire, wood, metal"):
        top_up(project)


def say_all_as(project: Project, label: str) -> None:
    """The teacher says the same to all."""
    rows = read_rows(project.workspace.index)
    keys = [question_key(project.config, 0, row["sha256"]) for row in rows]
    said = {"kind": "answer", "status": "ok", "label": label, "confidence": 0.9}
    append(project.workspace.answers, [said | {"key": key} for key in keys])


def test_rates_are_never_certain(tmp_path: Path) -> None:
    project = project_of(tmp_path)
    alone(project, STAGES[0])
    water = [
        row["sha256"] for row in read_rows(project.workspace.index) if row["sought"] == "water"
    ]
    rates = hit_rates(project, dict.fromkeys(water, "water"))
    assert rates["water"] == pytest.approx(11 / 12)
    assert rates["fire"] == pytest.approx(0.1)
    assert rates["wood"] == pytest.approx(0.5)


def test_what_else_changed_is_still_to_be_collected(tmp_path: Path) -> None:
    """A top-up asks the sources for a few labels and does not look into the folder."""
    project = project_of(tmp_path)
    alone(project, STAGES[0])
    say_all(project, wrong=6)
    save(tmp_path / "pictures" / "new.png", 5)
    (tmp_path / "pictures" / "bad.png").write_bytes(b"")
    assert top_up(project)["new"] == 15
    assert "pictures changed" in str(why(project, STAGES[0]))
    assert alone(project, STAGES[0])["new"] == 1
    skipped = project.workspace.originals / "skipped.jsonl"
    assert [row["origin"] for row in read_rows(skipped)] == ["bad.png"]
    for row in read_rows(project.workspace.index):
        answer = {"kind": "answer", "status": "ok", "label": "fire", "confidence": 0.9}
        key = question_key(project.config, 0, row["sha256"])
        append(project.workspace.answers, [answer | {"key": key}])
    top_up(project)
    assert [row["origin"] for row in read_rows(skipped)] == ["bad.png"]


def test_labels_of_a_file_are_not_topped_up(tmp_path: Path) -> None:
    project = project_of(tmp_path)
    config = parse_config({"collect": {"aim": 3}, "prepare": {"custom": "mine.json"}})
    with pytest.raises(ConfigError, match=r"prepare\.custom"):
        top_up(Project.of(config, project.workspace.root))
