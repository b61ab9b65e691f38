"""The teacher's answers become a dataset."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.pictures import open_picture
from pocketvlm.prepare import prepare
from pocketvlm.prepare.splits import split_of
from pocketvlm.workspace import read_json, read_rows

from .conftest import LABELS, answered, collected, configured, everything, lines


def test_a_line_holds_what_the_plan_says(tmp_path: Path, base: Path) -> None:
    project = configured(tmp_path, base)
    (row,) = collected(project, 1)
    answered(project, row, visual_features=["waves"], alternative="land", colours=["blue"])
    prepare(project)
    (line,) = [line for name in ("train", "val", "test") for line in lines(project, name)]
    assert line == {
        "id": row["sha256"],
        "image": f"images/{row['sha256']}.png",
        "label": "water",
        "confidence": 0.9,
        "reason": "It is wet.",
        "visual_features": ["waves"],
        "colours": ["blue"],
        "texture": None,
        "alternative": "land",
        "ambiguity": None,
        "origin": "my 0.png",
        "source": "teacher",
        "reviewed": False,
    }


def test_bitmaps_are_the_contracts_byte_for_byte(tmp_path: Path, base: Path) -> None:
    project = configured(tmp_path, base)
    rows = collected(project, 12)
    for row in rows:
        answered(project, row)
    prepare(project)
    for row in rows:
        with Image.open(project.workspace.dataset / "images" / f"{row['sha256']}.png") as stored:
            assert stored.format == "PNG"
            pixels = np.asarray(stored)
        wanted = project.contract.bitmap(open_picture(project.workspace.originals / row["file"]))
        assert np.array_equal(pixels, wanted)


def test_the_confidence_filter_is_for_train_only(tmp_path: Path, base: Path) -> None:
    project = configured(tmp_path, base)
    rows = collected(project, 40)
    for at, row in enumerate(rows):
        answered(project, row, confidence=(0.2, 0.75)[at % 2])
    figures = prepare(project)
    sure = Counter(line["confidence"] for line in lines(project, "train"))
    assert list(sure) == [0.75]
    held = [row for row in rows if split_of(row["sha256"]) != "train"]
    assert figures["val"] + figures["test"] == len(held)
    assert figures["unsure"] == 40 - len(held) - figures["train"]
    others = lines(project, "val") + lines(project, "test")
    assert {line["confidence"] for line in others} == {0.2, 0.75}


def test_answers_without_a_label_are_left_out_and_counted(tmp_path: Path, base: Path) -> None:
    project = configured(tmp_path, base)
    rows = collected(project, 8)
    statuses = ("ok", "none", "none", "refused", "malformed", "rejected", "failed")
    for row, status in zip(rows, statuses, strict=False):  # the last was never asked
        answered(project, row, status=status, label="water" if status == "ok" else status)
    figures = prepare(project)
    assert list(everything(project)) == [rows[0]["sha256"]]
    assert figures["rejected"] == 7
    reasons = {"none": 2, "refused": 1, "malformed": 1, "rejected": 1, "failed": 1, "unasked": 1}
    assert figures["reasons"] == reasons
    assert "pictures without an answer yet: 1; run `pocketvlm label`" in figures["notes"]
    skipped = list(read_rows(project.workspace.dataset / "skipped.jsonl"))
    assert [row["image"] for row in skipped] == [row["origin"] for row in rows[1:]]


def test_a_lost_original_is_left_out_and_counted_once(tmp_path: Path, base: Path) -> None:
    project = configured(tmp_path, base)
    rows = collected(project, 4)
    for row in rows:
        answered(project, row)
    (project.workspace.originals / rows[2]["file"]).unlink()
    figures = prepare(project)
    assert (figures["rejected"], figures["unsure"]) == (1, 0)
    assert rows[2]["sha256"] not in everything(project)


def test_nothing_left_is_an_error_and_keeps_the_former_dataset(tmp_path: Path, base: Path) -> None:
    project = configured(tmp_path, base)
    rows = collected(project, 3)
    with pytest.raises(PocketError, match="run `pocketvlm label` first"):
        prepare(project)
    for row in rows:
        answered(project, row)
    prepare(project)
    before = everything(project)
    for row in rows:
        (project.workspace.originals / row["file"]).unlink()
    (project.workspace.dataset / "bitmaps.json").unlink()
    with pytest.raises(PocketError, match=r"nothing is left of 3 labelled pictures: 3 cannot be"):
        prepare(project)
    assert everything(project) == before


def test_a_second_run_links_its_bitmaps(tmp_path: Path, base: Path) -> None:
    project = configured(tmp_path, base)
    rows = collected(project, 5)
    for row in rows:
        answered(project, row)
    prepare(project)
    image = project.workspace.dataset / "images" / f"{rows[0]['sha256']}.png"
    before = image.stat().st_ino
    answered(project, rows[1], status="none")
    prepare(project)
    assert image.stat().st_ino == before
    assert len(list(image.parent.iterdir())) == 4


def test_a_damaged_bitmap_is_made_again(tmp_path: Path, base: Path) -> None:
    project = configured(tmp_path, base)
    for row in collected(project, 3):
        answered(project, row)
    prepare(project)
    image = next((project.workspace.dataset / "images").iterdir())
    sound = image.read_bytes()
    image.write_bytes(sound[:300])
    prepare(project)
    assert image.read_bytes() == sound
    Image.new("RGB", (64, 64), "magenta").save(image)
    prepare(project)
    assert image.read_bytes() == sound


def test_a_dataset_of_the_users_own_is_not_replaced(tmp_path: Path, base: Path) -> None:
    project = configured(tmp_path, base)
    answered(project, collected(project, 1)[0])
    mine = project.workspace.split("train")
    mine.parent.mkdir()
    mine.write_text("{}")
    with pytest.raises(ConfigError, match="run --from train"):
        prepare(project)
    assert mine.read_text() == "{}"


def test_another_contract_makes_new_bitmaps(tmp_path: Path, base: Path) -> None:
    project = configured(tmp_path, base)
    for row in collected(project, 3):
        answered(project, row)
    prepare(project)
    other = configured(tmp_path, base, device={"side": 128})
    prepare(other)
    assert read_json(other.workspace.dataset / "contract.json") == other.contract.describe()
    for path in (other.workspace.dataset / "images").iterdir():
        assert open_picture(path).shape == (128, 128, 3)


def test_ten_pictures_are_enough_and_the_card_says_what_is_missing(
    tmp_path: Path, base: Path
) -> None:
    project = configured(tmp_path, base)
    for at, row in enumerate(collected(project, 10)):
        answered(project, row, label=LABELS[at % 5])
    figures = prepare(project)
    assert sum(figures[name] for name in ("train", "val", "test")) == 10
    card = (project.workspace.dataset / "README.md").read_text()
    assert figures["notes"]
    for note in figures["notes"]:
        assert note in card
    assert project.contract.hash in card
    assert f"| **all** | | {figures['train']} | {figures['val']} | {figures['test']} |" in card


def test_labels_that_cannot_be_told_apart_are_refused(tmp_path: Path, base: Path) -> None:
    labels = {"fire": "a", "fireplace": "b"}
    project = configured(tmp_path, base, task={"question": "Which?", "labels": labels})
    with pytest.raises(ConfigError, match="'fireplace' begin with those of 'fire'"):
        prepare(project)
