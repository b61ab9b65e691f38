"""A folder becomes originals/ and an index."""

import os
from pathlib import Path

import pytest

from pocketvlm.collect import collect
from pocketvlm.config import parse_config
from pocketvlm.duplicates import perceptual_hash
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.pictures import open_picture
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_rows, sha256_file

from .conftest import save


def counts(figures: Row) -> tuple[int, ...]:
    """Pictures, new ones, duplicates, skipped files."""
    return tuple(figures[name] for name in ("pictures", "new", "duplicates", "skipped"))


def test_pictures_are_found_recursively_and_kept_under_their_hash(
    project: Project, pictures: Path
) -> None:
    first = save(pictures / "fire" / "deep" / "a.png", 1)
    save(pictures / "b.jpg", 2, (64, 33))
    assert counts(collect(project)) == (2, 2, 0, 0)
    rows = {row["origin"]: row for row in read_rows(project.workspace.index)}
    assert rows["fire/deep/a.png"] == {
        "sha256": sha256_file(first),
        "file": f"{sha256_file(first)}.png",
        "origin": "fire/deep/a.png",
        "source": "folder",
        "licence": "CC0-1.0",
        "author": None,
        "url": None,
        "sought": None,
        "width": 48,
        "height": 40,
        "bytes": first.stat().st_size,
        "phash": perceptual_hash(open_picture(first)),
    }
    for row in rows.values():
        assert sha256_file(project.workspace.originals / row["file"]) == row["sha256"]


def test_equal_files_are_kept_once_and_counted(project: Project, pictures: Path) -> None:
    save(pictures / "a.png", 1)
    save(pictures / "copy.png", 1)
    assert counts(collect(project)) == (1, 1, 1, 0)


def test_the_suffix_follows_the_content_and_not_the_name(project: Project, pictures: Path) -> None:
    save(pictures / "a.png").rename(pictures / "wrong.jpg")
    save(pictures / "b.png", 2).rename(pictures / "none")
    collect(project)
    assert {Path(row["file"]).suffix for row in read_rows(project.workspace.index)} == {".png"}


def test_a_second_run_changes_nothing(project: Project, pictures: Path) -> None:
    for seed in range(5):
        save(pictures / f"{seed}.png", seed)
    collect(project)
    before = project.workspace.index.read_bytes()
    assert counts(collect(project)) == (5, 0, 0, 0)
    assert project.workspace.index.read_bytes() == before


def test_a_corrected_licence_is_recorded(project: Project, pictures: Path) -> None:
    gone = save(pictures / "gone.png", 1)
    save(pictures / "a.png", 2)
    collect(project)
    gone.unlink()
    corrected = parse_config({"collect": {"licence": "CC-BY-4.0"}})
    collect(Project.of(corrected, project.workspace.root))
    rows = read_rows(project.workspace.index)
    licences = {row["origin"]: row["licence"] for row in rows}
    assert licences == {"gone.png": "CC0-1.0", "a.png": "CC-BY-4.0"}


def test_no_label_is_taken_from_a_name(project: Project, pictures: Path) -> None:
    save(pictures / "fire" / "fire.png")
    collect(project)
    (row,) = read_rows(project.workspace.index)
    assert row.pop("origin") == "fire/fire.png"
    assert "fire" not in str(row)


def test_what_was_collected_stays_when_its_source_is_gone(project: Project, pictures: Path) -> None:
    gone = save(pictures / "a.png", 1)
    collect(project)
    gone.unlink()
    save(pictures / "b.png", 2)
    assert counts(collect(project)) == (2, 1, 0, 0)
    assert [row["origin"] for row in read_rows(project.workspace.index)] == ["a.png", "b.png"]


def test_a_lost_original_is_copied_again(project: Project, pictures: Path) -> None:
    save(pictures / "a.png", 1)
    collect(project)
    (row,) = read_rows(project.workspace.index)
    (project.workspace.originals / row["file"]).unlink()
    collect(project)
    assert sha256_file(project.workspace.originals / row["file"]) == row["sha256"]


def test_hidden_files_are_not_looked_at(project: Project, pictures: Path) -> None:
    save(pictures / "a.png")
    save(pictures / ".hidden.png", 2)
    save(pictures / ".thumbnails" / "b.png", 3)
    assert counts(collect(project)) == (1, 1, 0, 0)


def test_a_name_that_is_no_utf8_is_kept_as_it_is(project: Project, pictures: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    save(pictures / "a.png").rename(pictures / name)
    (pictures / os.fsdecode(b"caf\xe9.txt")).write_text("no picture")
    assert collect(project)["pictures"] == 1
    (row,) = read_rows(project.workspace.index)
    assert row["origin"] == name


def test_a_missing_folder_is_named(project: Project, pictures: Path) -> None:
    pictures.rmdir()
    with pytest.raises(ConfigError, match=r"collect\.folder.*pictures does not exist"):
        collect(project)


def test_a_folder_without_pictures_is_named(project: Project, pictures: Path) -> None:
    (pictures / "notes.txt").write_text("nothing to see")
    with pytest.raises(PocketError, match="no source holds a picture"):
        collect(project)
    assert not project.workspace.index.exists()


def test_the_workspace_does_not_collect_itself(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    project = Project.of(parse_config({"collect": {"folder": "."}}), tmp_path)
    with pytest.raises(ConfigError, match="holds the workspace itself"):
        collect(project)
