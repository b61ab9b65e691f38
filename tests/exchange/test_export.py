"""What other tools open: an imagefolder for `datasets`, conversations for TRL."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import DatasetDict, Image, List, disable_progress_bars, load_dataset
from huggingface_hub import DatasetCard

from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.exchange import export
from pocketvlm.exchange.export import Form
from pocketvlm.pictures import open_picture
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_rows, write_rows

from .conftest import SPLITS, configured, lines, prepared, row

FORMS: list[Form] = ["imagefolder", "conversations"]
OTHER = {"train": "train", "val": "validation", "test": "test"}


def opened(tmp_path: Path, *what: Any, **how: Any) -> DatasetDict:
    """As anybody would open it, with a cache of its own."""
    disable_progress_bars()
    return load_dataset(*what, cache_dir=str(tmp_path / "cache"), **how)


def same(data: DatasetDict, project: Project, column: str = "image") -> None:
    """Pixels, labels and order are the data set's."""
    assert set(data) == {OTHER[name] for name, rows in lines(project).items() if rows}
    for name, rows in lines(project).items():
        assert [one["label"] for one in rows] == (data[OTHER[name]]["label"] if rows else [])
        for line, one in zip(rows, data[OTHER[name]] if rows else [], strict=True):
            shown = one[column][0] if column == "images" else one[column]
            bitmap = open_picture(project.workspace.dataset / line["image"])
            np.testing.assert_array_equal(np.asarray(shown), bitmap)


def test_datasets_opens_the_folder_with_equal_pixels_and_labels(
    project: Project, tmp_path: Path
) -> None:
    figures = export(project, tmp_path / "out", "imagefolder")
    assert figures == {
        "folder": str(tmp_path / "out"),
        "form": "imagefolder",
        **{"train": 6, "val": 3, "test": 2},
    }
    same(opened(tmp_path, str(tmp_path / "out")), project)
    same(opened(tmp_path, "imagefolder", data_dir=str(tmp_path / "out")), project)
    streamed = load_dataset(str(tmp_path / "out"), split="validation", streaming=True)
    assert [one["id"] for one in streamed] == [one["id"] for one in lines(project)["val"]]


NOTHING = "the key is not there"
COLUMNS: dict[str, tuple[Any, Any, Any]] = {
    "words, null in test": ("a", "b", None),
    "words, null but in train": ("a", None, None),
    "words, no key but in train": ("a", NOTHING, NOTHING),
    "words, no key in train": (NOTHING, "a", "b"),
    "numbers, null in val": (0.5, None, 0.5),
    "whole numbers in val": (0.5, 1, 0.5),
    "empty lists in test": (["a"], ["b"], []),
    "no lists in train": (None, ["a"], ["b"]),
    "dates in val": ("a", "2026-01-01", "b"),
    "words and numbers": (1, "one", 1),
    "objects that differ": ({"a": 1}, {"b": "c"}, {}),
    "objects with a file name": ({"x_file_name": "a.png"},) * 3,
    "half a surrogate": ("\udc80", "a", "b"),
    "more than 64 bits": (2**70, 1, 1),
    "null": (None, None, None),
}
"""A column's value in train, val and test."""


@pytest.mark.parametrize("form", FORMS)
def test_splits_whose_values_differ_open_all_the_same(tmp_path: Path, form: Form) -> None:
    splits = {}
    for at, split in enumerate(SPLITS):
        more = {name: values[at] for name, values in COLUMNS.items() if values[at] != NOTHING}
        splits[split] = [row(10 * at, **more), row(10 * at + 1, **more)]
    project = prepared(configured(tmp_path / "workspace"), splits)
    export(project, tmp_path / "out", form)
    data = opened(tmp_path, str(tmp_path / "out"))
    assert len({str(data[split].features) for split in data}) == 1
    assert set(COLUMNS) <= set(data["test"].features)
    if form == "imagefolder":
        same(data, project)
    assert data["validation"]["whole numbers in val"] == ["1", "1"]
    assert data["validation"]["words, no key in train"] == ["a", "a"]


def test_words_that_are_missing_somewhere_stay_words(tmp_path: Path) -> None:
    splits = {"train": [row(0, alternative="land"), row(1)], "val": [row(2)], "test": [row(3)]}
    project = prepared(configured(tmp_path / "workspace"), splits)
    export(project, tmp_path / "out", "imagefolder")
    assert opened(tmp_path, str(tmp_path / "out"))["train"]["alternative"] == ["land", ""]


def test_conversations_are_those_of_trl(project: Project, tmp_path: Path) -> None:
    export(project, tmp_path / "out", "conversations")
    first, line = next(read_rows(tmp_path / "out" / "train.jsonl")), lines(project)["train"][0]
    question = project.config.task.question
    assert first["messages"] == [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]},
        {"role": "assistant", "content": [{"type": "text", "text": line["label"]}]},
    ]
    assert first["images"] == [line["image"]]
    assert {key: first[key] for key in line if key != "image"} == {
        key: value for key, value in line.items() if key != "image"
    }


def test_the_card_of_conversations_says_how_to_open_them(project: Project, tmp_path: Path) -> None:
    export(project, tmp_path / "out", "conversations")
    code = (tmp_path / "out" / "README.md").read_text().split("```python\n")[1].split("```")[0]
    here: dict[str, Any] = {}
    exec(code.replace('folder = "."', f"folder = {str(tmp_path / 'out')!r}"), here)
    assert here["data"]["train"].features["images"] == List(Image())
    same(here["data"], project, "images")


@pytest.mark.parametrize("form", FORMS)
def test_bitmaps_are_linked_not_copied(project: Project, tmp_path: Path, form: Form) -> None:
    export(project, tmp_path / "out", form)
    given = {path.stat().st_ino for path in (tmp_path / "out").rglob("*.png")}
    assert given == {path.stat().st_ino for path in project.workspace.dataset.rglob("*.png")}


@pytest.mark.parametrize("form", FORMS)
def test_an_export_is_replaced_as_a_whole_and_the_same_again(
    project: Project, tmp_path: Path, form: Form
) -> None:
    def content() -> dict[str, bytes]:
        files = (path for path in (tmp_path / "out").rglob("*") if path.is_file())
        return {str(path): path.read_bytes() for path in files}

    export(project, tmp_path / "out", FORMS[1 - FORMS.index(form)])
    export(project, tmp_path / "out", form)
    before = content()
    export(project, tmp_path / "out", form)
    assert content() == before
    assert ("metadata.jsonl" in str(before)) == (form == "imagefolder")


@pytest.mark.parametrize("name", ["thesis.txt", "README.md", ".git/config"])
def test_a_folder_with_something_else_is_not_touched(
    project: Project, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(ConfigError, match="no export that may be replaced"):
        export(project, tmp_path / "out", "imagefolder")
    assert path.read_text() == "mine"


def test_what_was_put_beside_an_export_is_not_lost(project: Project, tmp_path: Path) -> None:
    export(project, tmp_path / "out", "imagefolder")
    (tmp_path / "out" / ".git").mkdir()
    with pytest.raises(ConfigError, match=r"holds \.git"):
        export(project, tmp_path / "out", "imagefolder")


def test_what_was_put_into_an_exports_folder_is_not_lost(project: Project, tmp_path: Path) -> None:
    export(project, tmp_path / "set", "imagefolder")
    note = tmp_path / "set" / "train" / "notes" / "mine.txt"
    note.parent.mkdir()
    note.write_text("precious")
    with pytest.raises(ConfigError, match="did not write"):
        export(project, tmp_path / "set", "imagefolder")
    assert note.read_text() == "precious"


def test_a_file_is_no_folder(project: Project, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ConfigError, match="is a file"):
        export(project, tmp_path / "out", "imagefolder")


@pytest.mark.parametrize("form", FORMS)
def test_a_split_without_pictures_is_left_out(tmp_path: Path, form: Form) -> None:
    project = prepared(configured(tmp_path / "workspace"), {"train": [row(0)], "test": [row(1)]})
    assert export(project, tmp_path / "out", form)["val"] == 0
    assert set(opened(tmp_path, str(tmp_path / "out"))) == {"train", "test"}


def test_an_empty_data_set_is_said(tmp_path: Path) -> None:
    project = prepared(configured(tmp_path / "workspace"), {})
    with pytest.raises(PocketError, match="holds no picture"):
        export(project, tmp_path / "out", "imagefolder")
    assert not (tmp_path / "out").exists()


def test_no_data_set_is_said(tmp_path: Path) -> None:
    with pytest.raises(PocketError, match="pocketvlm prepare"):
        export(configured(tmp_path / "workspace"), tmp_path / "out", "imagefolder")


def test_a_data_set_of_another_contract_is_refused(project: Project, tmp_path: Path) -> None:
    other = configured(project.workspace.root, device={"side": 128})
    with pytest.raises(PocketError, match="another device contract"):
        export(other, tmp_path / "out", "imagefolder")


def test_a_missing_bitmap_is_named(project: Project, tmp_path: Path) -> None:
    gone = project.workspace.dataset / lines(project)["val"][1]["image"]
    gone.unlink()
    with pytest.raises(PocketError, match=gone.name):
        export(project, tmp_path / "out", "imagefolder")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("key", ["file_name", "mask_file_name", "images", "messages"])
def test_a_key_that_means_a_picture_elsewhere_is_named(tmp_path: Path, key: str) -> None:
    project = prepared(configured(tmp_path / "workspace"), {"train": [row(0, **{key: "a"})]})
    with pytest.raises(PocketError, match=f"'{key}' means a picture"):
        export(project, tmp_path / "out", "imagefolder")


def test_a_data_set_of_ones_own_is_exported_too(tmp_path: Path) -> None:
    """With `element`, without ids, bitmaps in folders of their own, one picture twice."""
    line = {"image": "images/deep/a.png", "element": "wood", "note": "mine"}
    project = prepared(configured(tmp_path / "workspace"), {"train": [line, line]})
    (project.workspace.dataset / "contract.json").unlink()
    export(project, tmp_path / "out", "imagefolder")
    rows = list(read_rows(tmp_path / "out" / "train" / "metadata.jsonl"))
    assert rows == [{"file_name": "deep/a.png", "label": "wood", "note": "mine"}] * 2
    contract = json.loads((tmp_path / "out" / "contract.json").read_text())
    assert contract["hash"] == project.contract.hash
    assert opened(tmp_path, str(tmp_path / "out"))["train"]["label"] == ["wood", "wood"]


def test_the_card_says_what_is_in_it(tmp_path: Path) -> None:
    rows = [row(n, author="Ada | Co", reviewed=n == 0, source="ab"[n % 2]) for n in range(4)]
    project = prepared(configured(tmp_path / "workspace"), {"train": rows[:3], "test": rows[3:]})
    export(project, tmp_path / "out", "imagefolder")
    card = DatasetCard.load(tmp_path / "out" / "README.md")
    head = card.data.to_dict()
    assert head["license"] == "cc-by-4.0"
    assert head["task_categories"] == ["image-classification"]
    assert head["size_categories"] == ["n<1K"]
    files = [{"split": name, "path": f"{name}/**"} for name in ("train", "test")]
    assert head["configs"] == [{"config_name": "default", "data_files": files}]
    for part in (
        "| label | definition | train | test |\n|---|---|---:|---:|\n",
        "| fire | flames, embers, lava | 1 | 1 |\n",
        "| **all** | | 3 | 1 |\n",
        "Labels by: a (2), b (2); looked at by a person: 1.",
        project.config.task.question,
        project.contract.hash,
        "- CC-BY-4.0: 4 pictures\n",
        "| Ada \\| Co | CC-BY-4.0 | 4 |\n",
    ):
        assert part in card.text


@pytest.mark.parametrize(
    ("found", "license", "name"),
    [
        (["CC0-1.0"], "cc0-1.0", None),
        (["CC0-1.0", "CC-BY-4.0"], "other", "mixed"),
        (["Unsplash License"], "other", "unsplash-license"),
        (["unknown", None], "unknown", None),
    ],
)
def test_the_cards_licence_is_the_pictures_own(
    tmp_path: Path, found: list[str | None], license: str, name: str | None
) -> None:
    rows: list[Row] = [row(at, licence=licence) for at, licence in enumerate(found)]
    project = prepared(configured(tmp_path / "workspace"), {"train": rows})
    export(project, tmp_path / "out", "imagefolder")
    head = DatasetCard.load(tmp_path / "out" / "README.md").data.to_dict()
    assert (head["license"], head.get("license_name")) == (license, name)


def test_a_line_that_is_wrong_is_named(project: Project, tmp_path: Path) -> None:
    write_rows(project.workspace.split("val"), [row(0, image="../a.png")])
    with pytest.raises(PocketError, match=r"val\.jsonl, row 1: image"):
        export(project, tmp_path / "out", "imagefolder")
