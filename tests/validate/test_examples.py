"""Which pictures are asked about, and what counts as true."""

from collections.abc import Callable

import pytest

from pocketvlm.errors import PocketError
from pocketvlm.project import Project
from pocketvlm.validate.examples import read_examples
from pocketvlm.workspace import read_rows, sha256_file, write_rows

from .conftest import COLOURS, lines

Make = Callable[..., Project]


def test_the_test_split_against_the_teacher(make: Make) -> None:
    split, examples = read_examples(make(test=4, val=2, train=9))
    assert split == "test"
    assert [example.truth for example in examples] == ["water", "fire", "wood", "water"]
    assert [example.confidence for example in examples] == [0.9, 0.9, 0.9, 0.5]
    assert all(example.path.is_file() for example in examples)


@pytest.mark.parametrize(("val", "train", "split"), [(2, 5, "val"), (0, 5, "train")])
def test_an_empty_test_split_is_replaced_loudly(
    make: Make, capsys: pytest.CaptureFixture[str], val: int, train: int, split: str
) -> None:
    name, examples = read_examples(make(val=val, train=train))
    assert (name, len(examples)) == (split, val or train)
    assert f"accuracy is measured on {split}" in capsys.readouterr().err


def test_an_empty_dataset_is_an_error(make: Make) -> None:
    with pytest.raises(PocketError, match="holds no picture"):
        read_examples(make())


def test_reviewed_truth_takes_reviewed_lines_only(make: Make) -> None:
    _, examples = read_examples(make(test=5, validate={"truth": "reviewed"}))
    assert len(examples) == 3
    assert all(example.reviewed for example in examples)


def test_reviewed_truth_without_a_review_is_an_error(make: Make) -> None:
    project = make(test=3, validate={"truth": "reviewed"})
    lines(project, "test", 3, reviewed="yes")
    with pytest.raises(PocketError, match="reviewed: true"):
        read_examples(project)


def test_known_truth_replaces_the_label_and_keeps_the_teachers(make: Make) -> None:
    project = make(test=3, validate={"truth": "known", "truth_file": "truth.jsonl"})
    ids = [row["id"] for row in read_rows(project.workspace.split("test"))]
    write_rows(
        project.workspace.root / "truth.jsonl", [{"sha256": id, "label": "wood"} for id in ids]
    )
    _, examples = read_examples(project)
    assert {example.truth for example in examples} == {"wood"}
    assert [example.teacher for example in examples] == list(COLOURS)


def test_missing_known_truth_names_the_count(make: Make) -> None:
    project = make(test=5, validate={"truth": "known", "truth_file": "truth.jsonl"})
    first = next(read_rows(project.workspace.split("test")))
    write_rows(project.workspace.root / "truth.jsonl", [{"sha256": first["id"], "label": "water"}])
    with pytest.raises(PocketError, match="lacks the truth of 4 of 5 pictures"):
        read_examples(project)


def test_a_label_outside_the_task_is_an_error(make: Make) -> None:
    project = make(test=3)
    lines(project, "test", 2, label="metal")
    with pytest.raises(PocketError, match=r"outside task.labels: \{'metal': 2\}"):
        read_examples(project)


def test_element_is_read_as_label_and_missing_confidence_as_sure(make: Make) -> None:
    project = make(test=1)
    (row,) = lines(project, "test", 1)
    write_rows(project.workspace.split("test"), [{"image": row["image"], "element": "fire"}])
    _, (example,) = read_examples(project)
    assert (example.truth, example.confidence) == ("fire", 1.0)
    assert example.id == sha256_file(example.path)  # names repeat in other data sets
