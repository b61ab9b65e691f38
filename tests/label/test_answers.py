"""Rich answers are kept, searched and exported; they never reach the student's prompt."""

import csv
import json
from pathlib import Path

import pytest

from pocketvlm.demo.demo import BASE
from pocketvlm.label import label
from pocketvlm.label.answers import as_csv, search
from pocketvlm.prepare import prepare
from pocketvlm.project import Project
from pocketvlm.workspace import read_rows
from tests.test_cli import pocketvlm

from .conftest import make
from .server import Server, answer

RUST = answer(label="metal", reason="Rust on a hull.", colours=["red"], ambiguity=None)


@pytest.fixture
def labelled(tmp_path: Path, server: Server) -> Project:
    server.queue.extend([RUST, answer(label="none", reason="A blank wall.")])
    project = make(tmp_path, 4, server.url, config={"base": {"model": str(BASE)}})
    label(project)
    return project


def test_every_word_must_occur_in_any_case(labelled: Project) -> None:
    assert [row["file"] for row in search(labelled, ["rust", "HULL"])] == ["0.png"]
    assert [row["file"] for row in search(labelled, ["lake"])] == ["2.png", "3.png"]
    assert list(search(labelled, ["lake", "rust"])) == []


def test_features_colours_texture_and_ambiguity_are_searched(labelled: Project) -> None:
    for word, count in (("waves", 4), ("red", 1), ("smooth", 4), ("shore", 3)):
        assert len(list(search(labelled, [word]))) == count, word


def test_label_and_status(labelled: Project) -> None:
    assert [row["file"] for row in search(labelled, [], label="metal")] == ["0.png"]
    assert [row["file"] for row in search(labelled, [], status="none")] == ["1.png"]


def test_the_table_keeps_every_field_and_no_formula(tmp_path: Path, server: Server) -> None:
    server.usual = answer(reason='=HYPERLINK("http://x"), he said', colours=["blue", "grey"])
    project = make(tmp_path, 1, server.url)
    label(project)
    (row,) = csv.DictReader(as_csv(search(project, [])))
    assert row["reason"] == '\'=HYPERLINK("http://x"), he said'
    assert row["colours"] == "blue, grey"
    assert (row["label"], row["confidence"], row["ambiguity"]) == (
        "water",
        "0.9",
        "There is a shore.",
    )


def test_the_command(labelled: Project) -> None:
    config = ["-c", str(labelled.workspace.root / "pocketvlm.yaml")]
    said = pocketvlm("answers", "rust", *config)
    assert said.stdout == "pictures/0.png: metal 0.90 (or land). Rust on a hull.\n"
    rows = pocketvlm("answers", "--json", *config).stdout.splitlines()
    assert [json.loads(row)["label"] for row in rows] == ["metal", "none", "water", "water"]
    assert len(pocketvlm("answers", "--csv", *config).stdout.splitlines()) == 5


def test_reasons_go_into_the_dataset_and_not_into_the_prompt(labelled: Project) -> None:
    prepare(labelled)
    lines = [
        row
        for name in ("train", "val", "test")
        for row in read_rows(labelled.workspace.split(name))
    ]
    (rust,) = [row for row in lines if row["label"] == "metal"]
    assert (rust["reason"], rust["colours"], rust["texture"]) == (
        "Rust on a hull.",
        ["red"],
        "smooth",
    )
    assert "Rust" not in labelled.contract.prompt
