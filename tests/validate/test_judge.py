"""A verdict on a folder that the training never saw, and on files made elsewhere."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketvlm.config import Config, parse_config
from pocketvlm.errors import ConfigError, GateMissed, PocketError
from pocketvlm.export import export_text, export_vision
from pocketvlm.export.header import read_header
from pocketvlm.project import Project
from pocketvlm.runtime import Files, Runtime
from pocketvlm.student.tiny import save_tiny
from pocketvlm.validate.judge import FOLDER, judge, outside
from pocketvlm.validate.judge.figures import recorded_calibration
from pocketvlm.validate.judge.subject import both, file_type, what_ships
from pocketvlm.validate.judge.unseen import read_unseen
from pocketvlm.workspace import Row, read_json, read_rows, sha256_file, write_json, write_rows
from tests.html_reader import Page
from tests.validate.conftest import COLOURS, LABELS, SIDE, lines, settings

MAIN = "from pocketvlm.cli import main; main()"


def pair(model: Path, folder: Path, side: int, contract: str = "") -> Files:
    """Both files of a model folder under a contract's hash, or under none."""
    folder.mkdir(exist_ok=True)
    files = folder / "model-Q8_0.gguf", folder / "mmproj-F16.gguf"
    export_text(model, files[0], "Q8_0", contract)
    export_vision(model, files[1], "F16", side, contract)
    return files


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model."""
    folder = tmp_path_factory.mktemp("tiny")
    save_tiny(folder, seed=1, words=LABELS, side=SIDE)
    return folder


@pytest.fixture
def project(tmp_path: Path, model: Path) -> Project:
    """A workspace with files, no pictures and no training."""
    made = Project.of(parse_config(settings(gates={"accuracy": 0.0})), tmp_path / "work")
    made.workspace.root.mkdir()
    pair(model, made.workspace.gguf, SIDE, made.contract.hash)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures of each label, larger than the device's bitmap."""
    root, random = tmp_path / "beach", np.random.default_rng(5)
    for label, colour in COLOURS.items():
        (root / label).mkdir(parents=True)
        for at in range(3):
            pixels = np.array(colour) + random.integers(-20, 20, (90, 120, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / label / f"{at}.png")
    return root


def only(project: Project) -> Path:
    """The one verdict that is there."""
    (found,) = (project.workspace.root / FOLDER).iterdir()
    return found


def written(project: Project) -> tuple[Row, list[Row]]:
    """metrics.json and the predictions of the one verdict."""
    folder = only(project)
    return read_json(folder / "metrics.json"), list(read_rows(folder / "predictions.jsonl"))


def test_a_folder_is_asked_as_the_device_would(project: Project, folder: Path) -> None:
    figures = judge(project, folder, None)
    metrics, rows = written(project)
    files = what_ships(project)
    with Runtime(*files) as runtime:
        for row in rows:
            bitmap = project.contract.open(folder / row["image"])
            said = runtime.answer(project.contract.prompt, bitmap, 32)
            assert row["texts"] == {"llama.cpp Q8_0": said.text}
            assert row["truth"] == row["image"].split("/")[0]
            assert row["id"] == sha256_file(folder / row["image"])
    assert figures["accuracy"] == sum(row["right"] for row in rows) / 9
    assert (metrics["truth"], metrics["split"], metrics["n"]) == ("known", "against beach", 9)
    assert metrics["data"]["counts"] == {"against beach": dict.fromkeys(COLOURS, 3)}
    assert metrics["stock"] is False
    assert metrics["mmproj_type"] == "F16"


def test_only_the_verdict_is_written(project: Project, folder: Path) -> None:
    write_json(project.workspace.report / "metrics.json", {"of": "the stage"})
    judge(project, folder, None)
    assert read_json(project.workspace.report / "metrics.json") == {"of": "the stage"}
    names = {path.name for path in only(project).rglob("*")}
    assert names == {"metrics.json", "predictions.jsonl", "report.html"}
    assert not project.workspace.dataset.exists()


def test_the_report_shows_the_pictures(project: Project, folder: Path) -> None:
    judge(project, folder, None)
    page = Page((only(project) / "report.html").read_text())
    shown = [image["src"] or "" for image in page.all("img")]
    assert shown
    assert all(source.startswith("data:image/") for source in shown)
    assert str(folder) not in page.text


def test_a_second_run_replaces_its_own_verdict(project: Project, folder: Path) -> None:
    judge(project, folder, None)
    (only(project) / "note").write_text("of the first")
    judge(project, folder, None)
    assert not (only(project) / "note").exists()
    other = Path(shutil.copytree(folder, folder.parent / "elsewhere" / folder.name))
    judge(project, other, None)
    assert len(list((project.workspace.root / FOLDER).iterdir())) == 2


def test_what_is_left_out_is_said(project: Project, folder: Path) -> None:
    (folder / "water" / "notes.txt").write_text("no picture")
    (folder / "water" / "deep").mkdir()
    shutil.copy(folder / "water" / "0.png", folder / "water" / "deep" / "again.png")
    (folder / "README.md").write_text("beside the classes")
    (folder / ".thumbnails").mkdir()
    shutil.copy(folder / "fire" / "0.png", folder / ".thumbnails" / "0.png")
    shutil.rmtree(folder / "wood")
    judge(project, folder, None)
    metrics, rows = written(project)
    against = metrics["against"]
    assert len(rows) == against["asked"] == 6
    assert list(against["unreadable"]) == ["water/notes.txt"]
    assert (against["repeated"], against["stray"], against["empty"]) == (1, 1, ["wood"])
    told = " ".join(metrics["warnings"])
    assert "water/notes.txt" in told
    assert "no picture of wood" in told


def test_folders_in_class_folders_are_read(project: Project, folder: Path, tmp_path: Path) -> None:
    (folder / "fire" / "a" / "b").mkdir(parents=True)
    (folder / "fire" / "0.png").rename(folder / "fire" / "a" / "b" / "0.png")
    found = read_unseen(project, folder, tmp_path / "bitmaps")
    assert "fire/a/b/0.png" in found.files
    assert [one.truth for one in found.examples].count("fire") == 3


def test_a_class_that_is_no_label_is_refused(project: Project, folder: Path) -> None:
    (folder / "sand").mkdir()
    judge(project, folder, None)  # an empty folder hides nothing
    (folder / "sand" / "x.png").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"sand is not in task.labels \(water, fire, wood\)"):
        judge(project, folder, None)


def test_a_workspace_that_is_judged_may_hold_verdicts(project: Project, folder: Path) -> None:
    for label in COLOURS:
        (folder / label).rename(project.workspace.root / label)
    project.workspace.gguf.rename(folder / "gguf")
    files = folder / "gguf" / "model-Q8_0.gguf", folder / "gguf" / "mmproj-F16.gguf"
    for _ in range(2):
        judge(project, project.workspace.root, files)
        write_json(project.workspace.manifest("validate"), {})
    assert written(project)[0]["n"] == 9
    (folder / FOLDER).mkdir()  # anywhere else the name means nothing
    (folder / FOLDER / "x.png").write_bytes(b"")
    with pytest.raises(ConfigError, match="verdicts"):
        judge(project, folder, files)


def test_a_folder_without_classes_is_refused(project: Project, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    for given in ("nothing", "missing"):
        with pytest.raises(ConfigError, match=given):
            judge(project, tmp_path / given, None)
    assert not (project.workspace.root / FOLDER).exists()


def test_one_picture_has_one_label(project: Project, folder: Path) -> None:
    shutil.copy(folder / "water" / "0.png", folder / "wood" / "same.png")
    with pytest.raises(PocketError, match=r"water/0.png and wood/same.png are the same"):
        judge(project, folder, None)
    assert not any((project.workspace.root / FOLDER).iterdir())


def known(project: Project, folder: Path) -> None:
    """A dataset that was trained on water/0.png and tested on fire/0.png, and an index of both and
    of wood/0.png, which no split holds."""
    hashes = [sha256_file(folder / label / "0.png") for label in ("water", "fire", "wood")]
    for split in ("train", "val", "test"):
        rows = lines(project, split, 2)
        rows[0]["id"] = {"train": hashes[0], "test": hashes[1]}.get(split, rows[0]["id"])
        write_rows(project.workspace.split(split), rows)
    write_rows(project.workspace.index, [{"sha256": one} for one in hashes])


def test_pictures_of_the_project_are_left_out_but_those_of_test(
    project: Project, folder: Path
) -> None:
    known(project, folder)
    judge(project, folder, None)
    metrics, rows = written(project)
    asked = {row["image"] for row in rows}
    assert metrics["against"]["known"] == 2
    assert "fire/0.png" in asked
    assert not asked & {"water/0.png", "wood/0.png"}
    assert "2 files of beach left out" in metrics["warnings"][0]


def test_a_folder_of_the_trainings_pictures_leaves_nothing(project: Project, folder: Path) -> None:
    for label in COLOURS:
        for at in (1, 2):
            (folder / label / f"{at}.png").unlink()
    known(project, folder)
    shutil.rmtree(folder / "fire")  # the one of test may be asked
    with pytest.raises(PocketError, match="leaves no picture to ask about"):
        judge(project, folder, None)


def test_pictures_like_the_trainings_are_said_loudly(project: Project, folder: Path) -> None:
    for split in ("train", "val", "test"):
        lines(project, split, 2)
    bitmap = np.asarray(Image.open(project.workspace.dataset / "images" / "train0.png"))
    brighter = (bitmap.astype(int) + 6).clip(0, 255).astype(np.uint8)
    Image.fromarray(brighter).save(folder / "water" / "twin.png")
    judge(project, folder, None)
    metrics, _ = written(project)
    control = next(row for row in metrics["controls"] if row["name"] == "near-duplicates")
    assert "1 of 10 pictures" in control["words"]
    assert any("1 of 10 pictures looks like" in warning for warning in metrics["warnings"])


@pytest.mark.parametrize("side", [SIDE, 2 * SIDE])
def test_files_made_elsewhere_are_asked_as_a_stock_app(
    project: Project, folder: Path, model: Path, tmp_path: Path, side: int
) -> None:
    files = pair(model, tmp_path / "theirs", side)
    judge(project, folder, files)
    metrics, rows = written(project)
    assert metrics["stock"] is True
    (told,) = [warning for warning in metrics["warnings"] if "stock app" in warning]
    how = "llama.cpp tiles it" if side == SIDE else "llama.cpp resizes and tiles it"
    assert f"{how} for a tower of {side}: " in told
    with Runtime(*files, stock=True) as runtime:
        bitmap = project.contract.open(folder / rows[0]["image"])
        said = runtime.answer(project.contract.prompt, bitmap, 32)
        assert metrics["tokens"]["prompt"] == len(runtime.ids(project.contract.prompt, bitmap))
    assert rows[0]["texts"] == {"llama.cpp Q8_0": said.text}


def test_without_a_folder_the_test_pictures_are_asked(project: Project) -> None:
    for split, count in (("train", 3), ("val", 3), ("test", 4)):
        lines(project, split, count)
    judge(project, None, what_ships(project))
    metrics, rows = written(project)
    assert (metrics["split"], metrics["truth"], metrics["against"]) == ("test", "teacher", None)
    assert [row["image"] for row in rows] == [f"images/test{at}.png" for at in range(4)]
    assert [row["name"] for row in metrics["slices"]["source"]] == ["teacher"]


def test_the_gates_are_judged_after_everything_is_written(project: Project, folder: Path) -> None:
    strict = Project.of(parse_config(settings(gates={"accuracy": 1.0})), project.workspace.root)
    with pytest.raises(GateMissed, match=r"below gates\.accuracy 1") as caught:
        judge(strict, folder, None)
    assert caught.value.figures["n"] == 9
    assert written(project)[0]["gates"]["accuracy"]["passed"] is False


@pytest.fixture
def calibrated(project: Project) -> Callable[..., None]:
    """Write the stage's metrics.json with a temperature for the files, or for others."""

    def write(**changes: object) -> None:
        files = what_ships(project)
        metrics = {
            "model": files[0].name,
            "mmproj": files[1].name,
            "type": "Q8_0",
            "mmproj_type": "F16",
            "contract": project.contract.hash,
            "files": {file.name: sha256_file(file) for file in files},
            "calibration": {"temperature": 100.0, "unsure_below": 0.9, "sure": 0.95, "n_val": 50},
        }
        write_json(project.workspace.report / "metrics.json", metrics | changes)

    return write


def test_the_recorded_temperature_is_measured_here(
    project: Project, folder: Path, calibrated: Callable[..., None]
) -> None:
    calibrated()
    judge(project, folder, None)
    metrics, rows = written(project)
    assert all(1 / 3 <= row["sure"] < 0.9 for row in rows)  # so hot that nothing is sure
    assert metrics["calibration"]["coverage"] == 0.0
    assert metrics["calibration"]["temperature"] == 100.0
    assert {row["likeliest"] for row in rows} <= set(COLOURS)


def test_another_files_temperature_is_not_taken(
    project: Project, folder: Path, calibrated: Callable[..., None]
) -> None:
    calibrated(files={"model-Q8_0.gguf": "of", "mmproj-F16.gguf": "yesterday"})
    judge(project, folder, None)
    metrics, rows = written(project)
    assert metrics["calibration"] is None
    assert {row["sure"] for row in rows} == {None}


def test_a_temperature_of_another_contract_or_wish_is_not_taken(
    project: Project, calibrated: Callable[..., None]
) -> None:
    files = what_ships(project)
    calibrated()
    assert recorded_calibration(project, files, "Q8_0")
    surer = Project.of(parse_config(settings(validate={"sure": 0.9})), project.workspace.root)
    assert recorded_calibration(surer, files, "Q8_0") is None
    calibrated(contract="another")
    assert recorded_calibration(project, files, "Q8_0") is None


def test_what_the_last_verdict_names_ships(
    project: Project, calibrated: Callable[..., None]
) -> None:
    text, other = what_ships(project)[0], project.workspace.gguf / "mmproj-Q8_0.gguf"
    other.write_bytes(b"")
    files = {file.name: sha256_file(file) for file in (text, other)}
    calibrated(mmproj_type="Q8_0", files=files)
    assert what_ships(project) == (text, other)
    other.unlink()
    assert what_ships(project)[1].name == "mmproj-F16.gguf"


@pytest.mark.parametrize(
    ("asked", "changes"),
    [
        ({"types": ["Q4_0", "Q8_0"]}, {}),
        ({"mmproj": ["Q8_0"]}, {}),
        ({}, {"files": {"model-Q8_0.gguf": "of", "mmproj-F16.gguf": "yesterday"}}),
    ],
)
def test_a_verdict_on_other_files_does_not_choose_and_that_is_said(
    project: Project,
    calibrated: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    asked: Row,
    changes: Row,
) -> None:
    calibrated(**changes)
    made = Project.of(parse_config(settings(export=asked)), project.workspace.root)
    files, export = what_ships(made), made.config.export
    said = capsys.readouterr().err
    assert files[0].name == f"model-{export.types[0]}.gguf"
    assert files[1].name == f"mmproj-{export.mmproj[0]}.gguf"
    assert f"asked: {files[0].name} and {files[1].name}" in said


def test_one_file_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="together"):
        both(tmp_path, None)
    with pytest.raises(ConfigError, match="--against FOLDER"):
        outside(None)


def test_files_that_do_not_load_are_named(project: Project, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    with pytest.raises(PocketError, match=r"broken\.gguf"):
        judge(project, folder, (tmp_path / "broken.gguf", what_ships(project)[1]))
    assert not (project.workspace.root / FOLDER).exists()


def test_a_file_names_its_type(project: Project) -> None:
    heads = [read_header(file) for file in what_ships(project)]
    assert [file_type(head) for head in heads] == ["Q8_0", "F16"]
    assert file_type(replace(heads[0], keys={})) == "unnamed"


def test_the_projects_own_files_of_another_contract_are_refused(
    project: Project, folder: Path
) -> None:
    changed = settings(device={"side": SIDE, "max_new_tokens": 9})
    other = Project.of(parse_config(changed), project.workspace.root)
    with pytest.raises(PocketError, match="another contract"):
        judge(other, folder, None)


def test_one_picture_is_one(project: Project, folder: Path) -> None:
    for label in ("fire", "wood"):
        shutil.rmtree(folder / label)
    for at in (1, 2):
        (folder / "water" / f"{at}.png").unlink()
    judge(project, folder, None)
    warnings = written(project)[0]["warnings"]
    assert any("only 1 picture was asked" in warning for warning in warnings)


def run(folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """`pocketvlm validate` in a folder."""
    return subprocess.run(
        [sys.executable, "-c", MAIN, "validate", *map(str, command)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_wrong_call_leaves_nothing_behind(project: Project, folder: Path) -> None:
    (folder / "sand").mkdir()
    (folder / "sand" / "x.png").write_bytes(b"")
    files = what_ships(project)
    done = run(folder, "--against", ".", "--model", files[0], "--mmproj", files[1])
    assert done.returncode == 2
    assert "sand" in done.stderr
    inside = project.workspace.root / "pocketvlm.yaml"
    inside.write_text(json.dumps(settings()))
    assert run(project.workspace.root, "--against", folder).returncode == 2
    assert not [root for root in (folder, inside.parent) if (root / "state").exists()]


def test_outside_of_a_project_the_default_contract_is_asked(
    folder: Path, model: Path, tmp_path: Path
) -> None:
    side = Config().device.side
    files = pair(model, tmp_path / "theirs", side)
    for picture in folder.glob("*/[12].png"):
        picture.unlink()
    for _ in range(2):  # in the folder of pictures itself, and again
        done = run(folder, "--against", ".", "--model", files[0], "--mmproj", files[1], "--json")
        assert done.returncode == 3, done.stderr
    assert {path.name for path in folder.iterdir()} == {*COLOURS, FOLDER}
    figures = json.loads(done.stdout)
    assert "gates.accuracy 0.85" in done.stderr
    metrics = read_json(folder / figures["folder"] / "metrics.json")
    assert metrics["confusion"]["truth"] == list(Config().task.labels)
    assert metrics["against"]["empty"] == ["land", "metal"]
