"""The same picture twice is never in train and in test."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketvlm.collect import collect
from pocketvlm.prepare import prepare, split_of
from pocketvlm.project import Project
from pocketvlm.workspace import Row, append_row, read_json, read_rows, sha256_file, write_rows

from .conftest import answered, configured, custom, everything


def scene(seed: int) -> Image.Image:
    """Shapes of several sizes."""
    random = np.random.default_rng(seed)
    total = np.zeros((120, 160, 3))
    for cells in (3, 9, 30):
        coarse = random.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        total += np.asarray(Image.fromarray(coarse).resize((160, 120))) / 3
    return Image.fromarray(total.astype(np.uint8))


def copies(folder: Path, name: str, seed: int, first: str) -> list[Path]:
    """A scene whose file belongs to the split `first`, and a poorer copy that belongs to another:
    qualities are tried until the hashes fall so."""
    folder.mkdir(exist_ok=True)
    found = []
    for part, wanted in (("a", True), ("b", False)):
        path = folder / f"{name}{part}.jpg"
        for quality in range(60, 95):
            scene(seed).save(path, "JPEG", quality=quality)
            if (split_of(sha256_file(path)) == first) is wanted:
                break
        else:
            raise AssertionError("no quality gives the split")
        found.append(path)
    return found


def labelled(project: Project) -> list[Row]:
    """Collect, and let the teacher say water to all."""
    collect(project)
    rows = list(read_rows(project.workspace.index))
    for row in rows:
        answered(project, row)
    return rows


@pytest.mark.parametrize("first", ["train", "val", "test"])
def test_copies_that_would_be_parted_stay_together(tmp_path: Path, base: Path, first: str) -> None:
    project = configured(tmp_path, base)
    folder = tmp_path / "pictures"
    planted = [sha256_file(path) for path in copies(folder, "0", 100, first)]
    for seed in range(20):
        scene(seed).save(folder / f"other {seed}.png")
    labelled(project)
    figures = prepare(project)
    splits = {one: split for one, (split, _) in everything(project).items()}
    assert [splits[one] for one in planted] == [first, first]
    assert split_of(planted[1]) != first
    assert figures["near_duplicates"] == 1
    others = {one: split for one, split in splits.items() if one not in planted}
    assert len(others) == 20
    assert all(split == split_of(one) for one, split in others.items())


def test_a_copy_that_comes_later_moves_nothing(tmp_path: Path, base: Path) -> None:
    project = configured(tmp_path, base)
    first, copy = copies(tmp_path / "elsewhere", "a", 100, "test")
    (tmp_path / "pictures").mkdir()
    first.rename(tmp_path / "pictures" / "z.jpg")
    labelled(project)
    prepare(project)
    (held,) = everything(project)
    copy.rename(tmp_path / "pictures" / "a.jpg")  # sorted before it, but collected after it
    labelled(project)
    prepare(project)
    splits = {one: split for one, (split, _) in everything(project).items()}
    assert splits[held] == "test"
    assert set(splits.values()) == {"test"}


def test_the_first_decides_even_without_a_label(tmp_path: Path, base: Path) -> None:
    """Or a review that rejects it would move the others."""
    project = configured(tmp_path, base)
    first, _ = copies(tmp_path / "pictures", "a", 100, "val")
    rows = labelled(project)
    (leader,) = [row for row in rows if row["sha256"] == sha256_file(first)]
    answered(project, leader, status="none")
    prepare(project)
    ((split, _),) = everything(project).values()
    assert split == "val"


def test_rows_of_an_older_version_are_hashed(tmp_path: Path, base: Path) -> None:
    project = configured(tmp_path, base)
    copies(tmp_path / "pictures", "a", 100, "test")
    rows = labelled(project)
    write_rows(project.workspace.index, ({k: r[k] for k in r if k != "phash"} for r in rows))
    assert prepare(project)["near_duplicates"] == 1
    assert {split for split, _ in everything(project).values()} == {"test"}
    looks = read_json(project.workspace.dataset / "looks.json")
    assert looks == {row["sha256"]: row["phash"] for row in rows}


def test_copies_in_a_custom_file_stay_together(tmp_path: Path, base: Path) -> None:
    planted = copies(tmp_path / "mine", "a", 100, "test")
    custom(
        tmp_path / "mine.json", [{"image_path": f"mine/{p.name}", "label": "fire"} for p in planted]
    )
    project = configured(tmp_path, base, prepare={"custom": "mine.json"})
    for _ in range(2):  # the second time from looks.json
        assert prepare(project)["near_duplicates"] == 1
        assert {split for split, _ in everything(project).values()} == {"test"}


def test_a_rejected_line_of_a_custom_file_still_leads(tmp_path: Path, base: Path) -> None:
    planted = copies(tmp_path / "mine", "a", 100, "test")
    rows = [{"image_path": f"mine/{path.name}", "label": "fire"} for path in planted]
    custom(tmp_path / "mine.json", rows)
    project = configured(tmp_path, base, prepare={"custom": "mine.json"})
    review = {"picture": sha256_file(planted[0]), "decision": "reject", "at": "now"}
    append_row(project.workspace.reviews, review)
    prepare(project)
    ((split, _),) = everything(project).values()
    assert split == "test"


def test_a_series_that_is_much_of_the_whole_is_said(tmp_path: Path, base: Path) -> None:
    project = configured(tmp_path, base)
    (tmp_path / "pictures").mkdir()
    for quality in range(60, 85):
        scene(1).save(tmp_path / "pictures" / f"{quality}.jpg", quality=quality)
    labelled(project)
    notes = prepare(project)["notes"]
    assert any("25 pictures look like one" in note for note in notes)
