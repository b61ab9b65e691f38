"""One JSON or JSONL of labelled pictures is enough, without collecting or a teacher."""

import json
from pathlib import Path

import pytest

from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.prepare import prepare
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_rows, sha256_file

from .conftest import configured, custom, everything, lines, picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder outside the workspace with six pictures."""
    folder = tmp_path / "elsewhere"
    for number in range(6):
        picture(folder / "img" / f"{number}.png", number)
    return folder


def rows(count: int = 6) -> list[Row]:
    return [
        {"image_id": f"a{number}", "image_path": f"img/{number}.png", "label": "fire"}
        for number in range(count)
    ]


def project_of(tmp_path: Path, base: Path, file: Path) -> Project:
    root = tmp_path / "workspace"
    root.mkdir()
    return configured(root, base, prepare={"custom": str(file)})


def refused(project: Project) -> list[str]:
    """The kinds of lines that were left out."""
    return [row["kind"] for row in read_rows(project.workspace.dataset / "skipped.jsonl")]


@pytest.mark.parametrize("name", ["all.json", "all.jsonl"])
@pytest.mark.parametrize("key", ["label", "element"])
def test_both_shapes_and_both_names(
    tmp_path: Path, base: Path, folder: Path, name: str, key: str
) -> None:
    given = [{key: row.pop("label")} | row for row in rows()]
    project = project_of(tmp_path, base, custom(folder / name, given))
    figures = prepare(project)
    assert figures["train"] + figures["val"] + figures["test"] == 6
    ids = {sha256_file(path) for path in (folder / "img").iterdir()}
    assert set(everything(project)) == ids
    assert not project.workspace.originals.exists()


def test_reason_and_confidence_are_kept(tmp_path: Path, base: Path, folder: Path) -> None:
    given = [row | {"reason": "flames", "confidence": 0.8} for row in rows()]
    project = project_of(tmp_path, base, custom(folder / "all.json", given))
    prepare(project)
    for name in ("train", "val", "test"):
        for line in lines(project, name):
            assert (line["reason"], line["confidence"]) == ("flames", 0.8)
            assert line["source"] == "all.json"


def test_bad_lines_are_listed_with_the_reason(tmp_path: Path, base: Path, folder: Path) -> None:
    bad: list[Row] = [
        {"image_path": "img/none.png", "label": "fire"},
        {"label": "fire"},
        {"image_path": "data:image/png;base64," + "A" * 5000, "label": "fire"},
        {"image_path": "img/0.png", "label": "aether"},
        {"image_path": "img/0.png"},
        {"image_path": "img/0.png", "label": ["fire"]},
        {"image_path": "img/0.png", "label": "fire", "confidence": 80},
        {"image_path": "img/0.png", "label": "fire", "confidence": True},
    ]
    project = project_of(tmp_path, base, custom(folder / "all.json", bad + rows()))
    figures = prepare(project)
    assert figures["rejected"] == len(bad)
    kinds = ["no file"] * 3 + ["unknown label"] * 3 + ["bad confidence"] * 2
    assert refused(project) == kinds


def test_the_same_picture_counts_once_and_the_first_label_wins(
    tmp_path: Path, base: Path, folder: Path
) -> None:
    (folder / "copy.png").write_bytes((folder / "img" / "0.png").read_bytes())
    given = [*rows(), {"image_path": "copy.png", "label": "water"}]
    project = project_of(tmp_path, base, custom(folder / "all.json", given))
    prepare(project)
    assert {label for _, label in everything(project).values()} == {"fire"}
    assert refused(project) == ["repeated"]


def test_a_broken_picture_is_listed(tmp_path: Path, base: Path, folder: Path) -> None:
    path = folder / "img" / "3.png"
    path.write_bytes(path.read_bytes()[:300])
    project = project_of(tmp_path, base, custom(folder / "all.jsonl", rows()))
    prepare(project)
    assert len(everything(project)) == 5
    assert refused(project) == ["unreadable"]


def test_other_labels_than_the_five(tmp_path: Path, base: Path, folder: Path) -> None:
    given = [row | {"label": ("sun", "rain", "fire")[at % 3]} for at, row in enumerate(rows())]
    root = tmp_path / "workspace"
    labels = {"sun": "clear | bright\nsky", "rain": "drops"}
    project = configured(
        root,
        base,
        task={"question": "What is the weather?", "labels": labels},
        prepare={"custom": str(custom(folder / "all.json", given))},
    )
    figures = prepare(project)
    assert figures["reasons"] == {"unknown label": 2}
    assert {label for _, label in everything(project).values()} == {"sun", "rain"}
    card = (project.workspace.dataset / "README.md").read_text()
    assert "| sun | clear \\| bright sky | " in card


def test_a_picture_that_may_not_be_read_is_listed(
    tmp_path: Path, base: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: Path) -> str:
        if path.name == "3.png":
            raise PermissionError(13, "Permission denied", str(path))
        return sha256_file(path)

    monkeypatch.setattr("pocketvlm.prepare.source.sha256_file", forbidden)
    project = project_of(tmp_path, base, custom(folder / "all.json", rows()))
    prepare(project)
    assert len(everything(project)) == 5
    (line,) = read_rows(project.workspace.dataset / "skipped.jsonl")
    assert (line["image"], line["kind"]) == ("img/3.png", "unreadable")
    assert "Permission denied" in line["reason"]


def test_files_of_other_systems_are_read(tmp_path: Path, base: Path, folder: Path) -> None:
    file = folder / "all.jsonl"
    reasons = [row | {"reason": "a\u2028b"} for row in rows()]
    text = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in reasons) + "\r\n\r\n"
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    project = project_of(tmp_path, base, file)
    prepare(project)
    assert len(everything(project)) == 6


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"[]", "it is empty"),
        (b"image_path,label\nimg/0.png,fire\n", "neither a JSON list nor JSON Lines"),
        (b'[{"image_path": "img/0.png"', "neither a JSON list nor JSON Lines"),
        (b'[1, "a"]', "must be an object"),
        (b"[" * 100_000, "neither a JSON list nor JSON Lines"),
        ('{"image_path": "größe.png"}'.encode("cp1252"), "neither a JSON list nor JSON Lines"),
        (b'{"image_path": "img/0.png", "label": "aether"}', "label 'aether' is not in task.labels"),
    ],
)
def test_a_file_that_gives_nothing_is_named(
    tmp_path: Path, base: Path, folder: Path, content: bytes, why: str
) -> None:
    file = folder / "all.json"
    file.write_bytes(content)
    project = project_of(tmp_path, base, file)
    with pytest.raises(PocketError, match=why) as caught:
        prepare(project)
    assert str(file) in str(caught.value)


def test_a_missing_file_is_a_wrong_configuration(tmp_path: Path, base: Path, folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"prepare\.custom.*does not exist"):
        prepare(project_of(tmp_path, base, folder / "nowhere.json"))
