"""All sources into one index: balanced, each picture once, nothing fetched twice."""

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pocketvlm.collect import collect
from pocketvlm.config import parse_config
from pocketvlm.errors import ConfigError
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_rows, sha256_file, write_rows

from .conftest import save

WANTED = {"water": ["lake"], "fire": ["stove"]}


def shelf(root: Path, counts: dict[str, int]) -> None:
    """Class folders of another data set."""
    for at, (name, count) in enumerate(counts.items()):
        for number in range(count):
            save(root / "shelf" / name / f"{number:03}.png", 1000 * at + number, (40, 36))


def project_of(root: Path, **hub: Any) -> Project:
    """With that data set as a source."""
    hub = {"dataset": "shelf", "wanted": WANTED, "pictures": 10, "licence": "MIT"} | hub
    return Project.of(parse_config({"collect": {"hub": hub}}), root)


def rows(project: Project) -> list[Row]:
    """The index."""
    return list(read_rows(project.workspace.index))


def sought(project: Project) -> dict[str | None, int]:
    """How many pictures were fetched for each label."""
    return dict(Counter(row["sought"] for row in rows(project)))


def test_candidates_are_balanced_over_the_labels(tmp_path: Path) -> None:
    shelf(tmp_path, {"lake": 20, "river": 5, "stove": 20, "chair": 20})
    project = project_of(tmp_path, wanted={"water": ["lake", "river"], "fire": ["stove"]})
    figures = collect(project)
    assert (figures["pictures"], figures["new"]) == (10, 10)
    assert sought(project) == {"water": 5, "fire": 5}
    for row in rows(project):
        assert row["source"] == "hub"
        assert row["licence"] == "MIT"
        assert sha256_file(project.workspace.originals / row["file"]) == row["sha256"]
        assert "label" not in row


def test_a_second_run_asks_for_nothing(tmp_path: Path) -> None:
    shelf(tmp_path, {"lake": 20, "stove": 20})
    project = project_of(tmp_path)
    collect(project)
    before = project.workspace.index.read_bytes()
    assert collect(project)["new"] == 0
    assert project.workspace.index.read_bytes() == before


def test_broken_and_known_pictures_are_replaced(tmp_path: Path) -> None:
    shelf(tmp_path, {"lake": 20, "stove": 20})
    for number in range(3):
        (tmp_path / "shelf" / "lake" / f"{number:03}.png").write_bytes(b"no picture")
    same = (tmp_path / "shelf" / "lake" / "003.png").read_bytes()
    (tmp_path / "shelf" / "lake" / "004.png").write_bytes(same)
    project = project_of(tmp_path)
    figures = collect(project)
    assert sought(project) == {"water": 5, "fire": 5}
    assert (figures["skipped"], figures["duplicates"]) == (3, 1)
    reasons = Counter(
        row["reason"].split(" as ")[0]
        for row in read_rows(project.workspace.originals / "skipped.jsonl")
    )
    assert reasons == {"not a picture": 3, "the same file": 1}
    collect(project_of(tmp_path, pictures=12))  # what was skipped is not offered again
    assert sought(project) == {"water": 6, "fire": 6}
    assert len(list(read_rows(project.workspace.originals / "skipped.jsonl"))) == 4


def test_a_source_that_has_no_more_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf(tmp_path, {"lake": 2, "stove": 20})
    project = project_of(tmp_path)
    collect(project)
    assert sought(project) == {"water": 2, "fire": 5}
    assert "hub has no more: 3 for water not found" in capsys.readouterr().err


def test_more_is_fetched_beyond_what_was_asked(tmp_path: Path) -> None:
    shelf(tmp_path, {"lake": 20, "stove": 20})
    save(tmp_path / "pictures" / "new.png", 77)
    project = project_of(tmp_path)
    collect(project)
    (tmp_path / "pictures" / "newer.png").write_bytes(b"")
    assert collect(project, {"water": 7, "wood": 9})["new"] == 7  # nothing can be sought for wood
    assert sought(project) == {None: 1, "water": 12, "fire": 5}
    assert collect(project)["new"] == 0


def test_the_folder_may_be_missing_beside_another_source(tmp_path: Path) -> None:
    shelf(tmp_path, {"lake": 4, "stove": 4})
    assert collect(project_of(tmp_path, pictures=4))["pictures"] == 4


def test_near_duplicates_are_counted(project: Project, pictures: Path) -> None:
    from PIL import Image

    first = save(pictures / "a.png", 1, (300, 200))
    save(pictures / "b.png", 2, (300, 200))
    Image.open(first).resize((290, 190)).save(pictures / "c.png")
    assert collect(project)["near_duplicates"] == 1


def test_a_label_that_the_task_has_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"collect: hub: \['air'\] are no labels"):
        project_of(tmp_path, wanted={"air": ["sky"]})


@pytest.mark.parametrize(("lost", "new"), [(30, 1), (1, 0)])
def test_a_torn_line_is_mended(project: Project, pictures: Path, lost: int, new: int) -> None:
    """Half a line is a picture that is not there yet; a line that only lacks its end is one."""
    for seed in range(3):
        save(pictures / f"{seed}.png", seed)
    collect(project)
    whole = project.workspace.index.read_bytes()
    project.workspace.index.write_bytes(whole[:-lost])
    assert collect(project)["new"] == new
    assert project.workspace.index.read_bytes() == whole


def test_a_row_of_an_older_version_is_completed(project: Project, pictures: Path) -> None:
    save(pictures / "a.png", 1)
    collect(project)
    whole = rows(project)
    old = ("sha256", "file", "origin", "licence", "width", "height")
    write_rows(project.workspace.index, ({name: r[name] for name in old} for r in whole))
    collect(project)
    ((found,), (wanted,)) = rows(project), whole
    assert found["phash"] == wanted["phash"]
    assert found["bytes"] == wanted["bytes"]


CHILD = """
import sys
from pathlib import Path
from tests.collect.test_sources import project_of
from pocketvlm.collect import collect
collect(project_of(Path(sys.argv[1]), pictures=400))
"""


def test_killed_it_goes_on(tmp_path: Path) -> None:
    shelf(tmp_path, {"lake": 200, "stove": 200})
    project = project_of(tmp_path, pictures=400)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], cwd=Path(__file__).parents[2]
    )
    deadline = time.monotonic() + 60
    index = project.workspace.index
    while not (index.is_file() and index.stat().st_size):
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    before = index.read_bytes()
    before = before[: before.rfind(b"\n") + 1]
    assert 0 < before.count(b"\n") < 400
    figures = collect(project)
    assert figures["pictures"] == 400
    assert index.read_bytes().startswith(before)
    assert sought(project) == {"water": 200, "fire": 200}
    assert len(list(project.workspace.originals.glob("*.png"))) == 400


def test_another_data_set_starts_from_nothing(tmp_path: Path) -> None:
    shelf(tmp_path, {"lake": 9, "stove": 9})
    collect(project_of(tmp_path))
    (tmp_path / "shelf").rename(tmp_path / "first")
    for at, name in enumerate(("lake", "stove")):
        for number in range(9):
            save(tmp_path / "second" / name / f"{number}.png", 500 + 100 * at + number)
    assert collect(project_of(tmp_path, dataset="second"))["new"] == 10


def test_what_a_killed_run_left_is_removed(project: Project, pictures: Path) -> None:
    save(pictures / "a.png", 1)
    collect(project)
    (project.workspace.originals / ".abc.png.12345678").write_bytes(b"half a picture")
    collect(project)
    assert not list(project.workspace.originals.glob(".*"))


def test_lines_of_an_older_version_are_the_folders(project: Project, pictures: Path) -> None:
    save(pictures / "a.png", 1)
    collect(project)
    path = project.workspace.originals / "skipped.jsonl"
    write_rows(path, [{"origin": "gone.jpg", "reason": "not a picture"}])
    collect(project)
    assert list(read_rows(path)) == []


@pytest.mark.parametrize("section", [{"categories": {}}, {"categories": {"water": []}}])
def test_a_search_for_nothing_is_refused(section: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"collect\.coco\.categories"):
        parse_config({"collect": {"coco": section}})


def test_a_name_does_not_steer_the_terminal(
    project: Project, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(pictures / "a.png", 1)
    (pictures / "junk\x1b[31m\n.jpg").write_bytes(b"")
    collect(project)
    assert "skipped junk?[31m?.jpg" in capsys.readouterr().err
