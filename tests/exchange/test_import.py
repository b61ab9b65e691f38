"""Data sets of other tools, and our own exports, become dataset/."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from PIL import Image

from pocketvlm.dataset import read_split
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.exchange import export, import_dataset
from pocketvlm.exchange.export import Form
from pocketvlm.pictures import open_picture
from pocketvlm.pipeline.run import check_makers
from pocketvlm.pipeline.stages import STAGES
from pocketvlm.prepare import split_of
from pocketvlm.prepare.prepare import check_own
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_rows, sha256_file, write_json, write_rows

from .conftest import SIDE, SPLITS, bitmaps, configured, lines, picture, prepared, row

FORMS: list[Form] = ["imagefolder", "conversations"]


def skipped(project: Project) -> list[tuple[str, str]]:
    """File name and kind of what was left out."""
    rows = read_rows(project.workspace.dataset / "skipped.jsonl")
    return [(Path(row["image"]).name, row["kind"]) for row in rows]


def labels(project: Project) -> dict[str, list[str]]:
    return {name: [line["label"] for line in rows] for name, rows in lines(project).items()}


def metadata(folder: Path, *rows: Row) -> None:
    write_rows(folder / "metadata.jsonl", rows)


@pytest.fixture
def empty(tmp_path: Path) -> Project:
    """A workspace without a data set."""
    return configured(tmp_path / "new")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "theirs"


@pytest.mark.parametrize("form", FORMS)
def test_an_export_comes_back_line_for_line_and_byte_for_byte(
    project: Project, empty: Project, tmp_path: Path, form: Form
) -> None:
    export(project, tmp_path / "out", form)
    figures = import_dataset(empty, tmp_path / "out")
    counts = {"train": 6, "val": 3, "test": 2}
    assert figures == {"form": form, **counts, "skipped": 0, "reasons": {}, "kept": 11}
    for name in SPLITS:
        before, after = project.workspace.split(name), empty.workspace.split(name)
        assert after.read_bytes() == before.read_bytes()
    assert bitmaps(empty) == bitmaps(project)


values = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(), inner, max_size=2),
    max_leaves=4,
)
fields = some.dictionaries(some.sampled_from(["origin", "note", "größe", "a b", "author"]), values)
known = some.fixed_dictionaries(
    {"label": some.sampled_from(["water", "fire", "metal"])},
    optional={
        "id": some.text(max_size=5),
        "confidence": some.none() | some.floats(0, 1) | some.integers(0, 1),
        "reason": some.none() | some.text(max_size=5),
        "reviewed": some.booleans(),
    },
)
rows = some.lists(some.tuples(some.sampled_from(["0", "1", "deep/2"]), fields, known), max_size=3)


@settings(max_examples=30, deadline=None)
@given(some.fixed_dictionaries(dict.fromkeys(SPLITS, rows)), some.sampled_from(FORMS))
def test_any_lines_come_back(given: dict[str, list[tuple[str, Row, Row]]], form: Form) -> None:
    if not any(given.values()):
        return
    splits = {
        name: [{"image": f"images/{at}.png", **more, **line} for at, more, line in found]
        for name, found in given.items()
    }
    with tempfile.TemporaryDirectory() as place:
        before = prepared(configured(Path(place) / "before"), splits)
        after = configured(Path(place) / "after")
        export(before, Path(place) / "out", form)
        import_dataset(after, Path(place) / "out")
        assert lines(after) == lines(before)
        assert bitmaps(after) == bitmaps(before)


def test_it_is_a_custom_data_set_that_training_takes(
    project: Project, empty: Project, tmp_path: Path
) -> None:
    export(project, tmp_path / "out", "imagefolder")
    import_dataset(empty, tmp_path / "out")
    empty.check_contract(empty.workspace.dataset)
    assert sum(1 for name in SPLITS for _ in read_split(empty, name)) == 11
    with pytest.raises(ConfigError, match="was not made by prepare"):
        check_own(empty.workspace.dataset)


def test_under_another_contract_pictures_go_through_it(project: Project, tmp_path: Path) -> None:
    export(project, tmp_path / "out", "imagefolder")
    larger = configured(tmp_path / "new", device={"side": 128})
    assert import_dataset(larger, tmp_path / "out")["kept"] == 0
    for before, after in zip(lines(project)["train"], lines(larger)["train"], strict=True):
        given = project.workspace.dataset / before["image"]
        made = open_picture(larger.workspace.dataset / after["image"])
        np.testing.assert_array_equal(made, larger.contract.open(given))
        assert after["image"] == f"images/{sha256_file(given)}.png"
        assert {**after, "image": ""} == {**before, "image": ""}


def test_a_damaged_bitmap_of_an_export_is_listed(
    project: Project, empty: Project, tmp_path: Path
) -> None:
    export(project, tmp_path / "out", "imagefolder")
    name = Path(lines(project)["val"][0]["image"]).name
    path = tmp_path / "out" / "validation" / name
    data = path.read_bytes()
    path.unlink()  # it is a link to the data set's own
    path.write_bytes(data[: len(data) // 2])
    assert import_dataset(empty, tmp_path / "out")["val"] == 2
    assert skipped(empty) == [(name, "unreadable")]


def test_a_bitmap_of_another_side_goes_through_the_contract(
    project: Project, empty: Project, tmp_path: Path
) -> None:
    export(project, tmp_path / "out", "imagefolder")
    line = lines(project)["val"][0]
    path = tmp_path / "out" / "validation" / Path(line["image"]).name
    path.unlink()
    picture(path, 7, (90, 40))
    assert import_dataset(empty, tmp_path / "out")["kept"] == 10
    made = open_picture(empty.workspace.dataset / line["image"])
    np.testing.assert_array_equal(made, empty.contract.open(path))


@pytest.mark.parametrize("validation", ["val", "validation"])
def test_another_tools_imagefolder(empty: Project, folder: Path, validation: str) -> None:
    for at, name in enumerate(("train", validation, "test")):
        picture(folder / name / "sub" / "a.png", at, (80, 50))
        metadata(folder / name, {"file_name": "sub/a.png", "element": "wood", "id": at, "n": None})
    assert import_dataset(empty, folder)["form"] == "imagefolder"
    for at, name in enumerate(SPLITS):
        sha256 = sha256_file(folder / ("train", validation, "test")[at] / "sub" / "a.png")
        image = f"images/{sha256}.png"
        (line,) = lines(empty)[name]
        assert line == {"id": str(at), "image": image, "label": "wood", "n": None}
        assert open_picture(empty.workspace.dataset / image).shape == (SIDE, SIDE, 3)


def test_class_folders_with_splits(empty: Project, folder: Path) -> None:
    for at, name in enumerate(("train/water", "train/fire", "val/water", "test/fire")):
        picture(folder / name / f"{at}.jpg", at, (80, 50))
    figures = import_dataset(empty, folder)
    assert (figures["form"], figures["skipped"]) == ("class folders", 0)
    assert labels(empty) == {"train": ["fire", "water"], "val": ["water"], "test": ["fire"]}


def test_pictures_without_splits_are_split_by_their_hash(empty: Project, folder: Path) -> None:
    files = [
        picture(folder / ("water", "fire")[at % 2] / f"{at}.png", at, (20, 20)) for at in range(40)
    ]
    import_dataset(empty, folder)
    expected = {sha256_file(path): split_of(sha256_file(path)) for path in files}
    assert set(expected.values()) == set(SPLITS)
    found = {line["id"]: name for name, rows in lines(empty).items() for line in rows}
    assert found == expected


def test_near_duplicates_without_splits_stay_together(empty: Project, folder: Path) -> None:
    """One copy after the other of the same scene, until their own hashes would part them."""
    small = np.random.default_rng(3).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    scene = Image.fromarray(small).resize((160, 120), Image.Resampling.BICUBIC)
    (folder / "water").mkdir(parents=True)
    own = set()
    for quality in range(95, 55, -1):
        path = folder / "water" / f"{100 - quality:02}.jpg"
        scene.save(path, "JPEG", quality=quality)
        own.add(split_of(sha256_file(path)))
    assert own == {"train", "val", "test"}
    figures = import_dataset(empty, folder)
    assert sorted(figures[name] for name in ("train", "val", "test")) == [0, 0, 40]


def test_another_tools_conversations(empty: Project, folder: Path) -> None:
    for name in "ab":
        picture(folder / "pictures" / f"{name}.png", ord(name), (80, 50))
    talks: list[Row] = [
        {"images": ["pictures/a.png"], "messages": [{"role": "assistant", "content": " fire\n"}]},
        {
            "images": ["pictures/b.png"],
            "messages": [
                {"role": "user", "content": [{"type": "image"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "wood"}]},
            ],
            "origin": "a camera",
        },
        {"images": ["pictures/a.png", "pictures/b.png"], "messages": []},
        {"images": ["pictures/a.png"], "messages": [{"role": "user", "content": "fire"}]},
        {"images": ["pictures/a.png"], "messages": "fire"},
    ]
    write_rows(folder / "train.jsonl", talks)
    figures = import_dataset(empty, folder)
    assert labels(empty) == {"train": ["fire", "wood"], "val": [], "test": []}
    assert lines(empty)["train"][1]["origin"] == "a camera"
    assert figures["reasons"] == {"bad line": 3}


def test_what_cannot_be_taken_is_listed_with_the_reason(empty: Project, folder: Path) -> None:
    picture(folder / "a.png", 1)
    shutil.copyfile(folder / "a.png", folder / "copy.png")
    picture(folder / "b.png", 2)
    (folder / "c.png").write_text("no picture")
    good: Row = {"file_name": "a.png", "label": "fire"}
    metadata(
        folder,
        good,
        {"file_name": "b.png", "label": "aether"},
        {"file_name": "b.png", "label": ["fire"]},
        {"file_name": "b.png"},
        {"label": "fire"},
        {"file_name": "c.png", "label": "fire"},
        {"file_name": "none.png", "label": "fire"},
        {"file_name": "b.png", "label": "fire", "confidence": 80},
        {"file_name": "copy.png", "label": "water"},
    )
    figures = import_dataset(empty, folder)
    assert skipped(empty) == [
        ("b.png", "unknown label"),
        ("b.png", "unknown label"),
        ("b.png", "unknown label"),
        ("metadata.jsonl", "bad line"),
        ("c.png", "unreadable"),
        ("none.png", "unreadable"),
        ("b.png", "bad line"),
        ("copy.png", "repeated"),
    ]
    assert figures["skipped"] == 8
    assert sum(len(rows) for rows in lines(empty).values()) == 1


@pytest.mark.parametrize(
    "name", ["../secret.png", "{tmp}/secret.png", "a/../../secret.png", "..\\secret.png", "C:\\a"]
)
@pytest.mark.parametrize("form", FORMS)
def test_a_path_that_leaves_the_folder_is_refused(
    empty: Project, folder: Path, tmp_path: Path, name: str, form: Form
) -> None:
    picture(tmp_path / "secret.png", 1)
    picture(folder / "a.png", 2)
    name = name.format(tmp=tmp_path)
    if form == "imagefolder":
        metadata(folder, {"file_name": "a.png", "label": "fire"}, {"file_name": name})
    else:
        write_rows(folder / "train.jsonl", [{"images": [name], "messages": [], "label": "fire"}])
    with pytest.raises(PocketError, match="leaves the folder: nothing was imported"):
        import_dataset(empty, folder)
    assert not empty.workspace.dataset.exists()


def test_a_data_set_that_was_not_imported_is_never_replaced(
    project: Project, tmp_path: Path
) -> None:
    export(project, tmp_path / "out", "imagefolder")
    before = bitmaps(project)
    with pytest.raises(ConfigError, match=r"move it away \(mv .*dataset-before\)"):
        import_dataset(project, tmp_path / "out")
    assert bitmaps(project) == before


def test_an_import_is_replaced_by_the_next(empty: Project, folder: Path) -> None:
    picture(folder / "water" / "a.png", 1)
    import_dataset(empty, folder)
    (folder / "water").rename(folder / "fire")
    import_dataset(empty, folder)
    assert [line["label"] for rows in lines(empty).values() for line in rows] == ["fire"]


def test_a_failed_import_leaves_the_one_before(empty: Project, folder: Path) -> None:
    picture(folder / "water" / "a.png", 1)
    import_dataset(empty, folder)
    before = lines(empty)
    (folder / "water").rename(folder / "aether")
    with pytest.raises(PocketError, match=r"no picture with a label of the task.*'aether'"):
        import_dataset(empty, folder)
    assert lines(empty) == before


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_a_folder_that_holds_nothing_is_said(empty: Project, folder: Path, make: Any) -> None:
    make(folder)
    with pytest.raises(ConfigError, match=r"is no folder|holds neither"):
        import_dataset(empty, folder)


def test_a_damaged_export_is_said(project: Project, empty: Project, tmp_path: Path) -> None:
    """A column that export.json says is JSON is none: the line is listed."""
    export(project, tmp_path / "out", "imagefolder")
    mark = tmp_path / "out" / "export.json"
    mark.write_text(json.dumps({"form": "imagefolder", "columns": {"reason": "json"}}))
    with pytest.raises(PocketError, match=r"no picture with a label.*row 1"):
        import_dataset(empty, tmp_path / "out")


def test_links_of_the_hubs_cache_are_followed(empty: Project, folder: Path) -> None:
    blob = picture(folder / "blobs" / "0a1b.png", 1)
    (folder / "snapshots" / "water").mkdir(parents=True)
    (folder / "snapshots" / "water" / "a.png").symlink_to(blob)
    assert import_dataset(empty, folder / "snapshots")["skipped"] == 0


def test_rows_of_a_label_that_was_corrected_by_hand_are_taken(
    project: Project, empty: Project, tmp_path: Path
) -> None:
    export(project, tmp_path / "out", "imagefolder")
    path = tmp_path / "out" / "test" / "metadata.jsonl"
    write_rows(path, [one | {"label": "metal"} for one in list(read_rows(path))])
    import_dataset(empty, tmp_path / "out")
    assert labels(empty)["test"] == ["metal", "metal"]
    assert row(9)["label"] != "metal"


@pytest.mark.parametrize("columns", [["a"], None, "a", {"a": "b"}, {"a": None}])
def test_a_damaged_record_of_columns_is_said(
    project: Project, empty: Project, tmp_path: Path, columns: Any
) -> None:
    export(project, tmp_path / "set", "imagefolder")
    write_json(tmp_path / "set" / "export.json", {"form": "imagefolder", "columns": columns})
    with pytest.raises(PocketError, match=r"export\.json is damaged"):
        import_dataset(empty, tmp_path / "set")


@pytest.mark.parametrize("name", ["a\0b.png", "a\ud800b.png", "pipe.png", "folder.png"])
def test_names_of_no_file_are_listed(empty: Project, folder: Path, name: str) -> None:
    picture(folder / "good.png", 1)
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    rows = [{"file_name": one, "label": "water"} for one in ("good.png", name)]
    write_rows(folder / "metadata.jsonl", rows)
    figures = import_dataset(empty, folder)
    assert figures["skipped"] == 1
    assert sum(figures[split] for split in SPLITS) == 1


def test_training_takes_it_whatever_prepare_made_before(empty: Project, folder: Path) -> None:
    picture(folder / "water" / "good.png", 1)
    write_json(empty.workspace.manifest("prepare"), {"inputs": {"dataset": "of another time"}})
    import_dataset(empty, folder)
    check_makers(empty, next(stage for stage in STAGES if stage.name == "train"))
