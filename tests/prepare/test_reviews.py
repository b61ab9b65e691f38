"""What a person decided comes before what the teacher said."""

from pathlib import Path
from typing import Any

import pytest

from pocketvlm.prepare import prepare
from pocketvlm.project import Project
from pocketvlm.workspace import Row, append_row, read_rows, sha256_file

from .conftest import answered, collected, configured, custom, lines, picture


def review(project: Project, row: Row, decision: str, label: str | None = None) -> None:
    """A person's decision."""
    line = {"picture": row["sha256"], "decision": decision, "label": label, "at": "now"}
    append_row(project.workspace.reviews, line)


def dataset(project: Project) -> dict[str, Row]:
    """All lines, by id."""
    return {row["id"]: row for name in ("train", "val", "test") for row in lines(project, name)}


@pytest.fixture
def project(tmp_path: Path, base: Path) -> Project:
    return configured(tmp_path, base)


def test_a_relabelled_picture_has_the_persons_label(project: Project) -> None:
    first, other = collected(project, 2)
    answered(project, first, confidence=0.1, alternative="land", colours=["grey"])
    answered(project, other)
    review(project, first, "relabel", "metal")
    figures = prepare(project)
    line = dataset(project)[first["sha256"]]
    assert (line["label"], line["confidence"], line["reviewed"]) == ("metal", 1.0, True)
    assert line["colours"] == ["grey"]
    assert line["reason"] is line["alternative"] is None  # they argue for water
    assert not dataset(project)[other["sha256"]]["reviewed"]
    assert figures["reviewed"] == 1


def test_an_accepted_picture_keeps_its_reason_and_passes_the_confidence(project: Project) -> None:
    rows = collected(project, 30)
    for row in rows:
        answered(project, row, confidence=0.1)
        review(project, row, "accept", "water")
    assert prepare(project)["unsure"] == 0
    assert len(dataset(project)) == 30
    assert {row["reason"] for row in dataset(project).values()} == {"It is wet."}


def test_an_accepted_label_stays_when_the_teacher_changes_its_mind(project: Project) -> None:
    (row,) = collected(project, 1)
    answered(project, row, label="water")
    review(project, row, "accept", "water")
    answered(project, row, label="fire")
    prepare(project)
    assert dataset(project)[row["sha256"]]["label"] == "water"


def test_a_rejected_picture_is_left_out_and_counted(project: Project) -> None:
    rows = collected(project, 3)
    for row in rows:
        answered(project, row)
    review(project, rows[1], "reject")
    figures = prepare(project)
    assert rows[1]["sha256"] not in dataset(project)
    assert figures["reasons"] == {"rejected by a person": 1}
    (skipped,) = read_rows(project.workspace.dataset / "skipped.jsonl")
    assert skipped["image"] == "my 1.png"


def test_undone_is_as_if_nobody_had_looked(project: Project) -> None:
    (row,) = collected(project, 1)
    answered(project, row)
    review(project, row, "reject")
    review(project, row, "undo")
    prepare(project)
    assert not dataset(project)[row["sha256"]]["reviewed"]


@pytest.mark.parametrize("said", [{"status": "none"}, {"status": "refused"}, None])
def test_a_person_labels_what_the_teacher_could_not(project: Project, said: Any) -> None:
    first, other = collected(project, 2)
    answered(project, other)
    if said:
        answered(project, first, **said)
    review(project, first, "relabel", "wood")
    figures = prepare(project)
    assert dataset(project)[first["sha256"]]["label"] == "wood"
    assert figures["rejected"] == 0


def test_a_label_that_the_task_has_no_more_is_named(project: Project) -> None:
    first, other = collected(project, 2)
    for row in (first, other):
        answered(project, row)
    review(project, first, "relabel", "air")
    assert prepare(project)["reasons"] == {"unknown label": 1}
    (skipped,) = read_rows(project.workspace.dataset / "skipped.jsonl")
    assert "'air' is not in task.labels" in skipped["reason"]


def test_pictures_of_a_custom_file_are_reviewed_too(tmp_path: Path, base: Path) -> None:
    paths = [picture(tmp_path / f"{seed}.png", seed) for seed in range(3)]
    custom(tmp_path / "mine.json", [{"image_path": one.name, "label": "fire"} for one in paths])
    project = configured(tmp_path, base, prepare={"custom": "mine.json"})
    ids = [sha256_file(path) for path in paths]
    review(project, {"sha256": ids[0]}, "relabel", "wood")
    review(project, {"sha256": ids[1]}, "reject")
    prepare(project)
    found = {one: row["label"] for one, row in dataset(project).items()}
    assert found == {ids[0]: "wood", ids[2]: "fire"}
