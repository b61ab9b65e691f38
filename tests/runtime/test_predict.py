"""`predict` asks the files that ship."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketvlm.config import parse_config
from pocketvlm.contract import Bitmap
from pocketvlm.errors import PocketError
from pocketvlm.export import export_text, export_vision
from pocketvlm.project import Project
from pocketvlm.runtime import Runtime
from pocketvlm.runtime.predict import predict, shipped

Says = Callable[[Bitmap, str], tuple[Path, Path]]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.of(
        parse_config({"device": {"side": 128}, "convert": {"types": ["F32"]}}), tmp_path
    )


def put(pair: tuple[Path, Path], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for path in pair:
        shutil.copy(path, folder)


def test_each_picture_gets_its_answer(
    project: Project, says: Says, pictures: list[Bitmap], tmp_path: Path
) -> None:
    put(says(pictures[0], "fire"), project.workspace.gguf)
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    Image.fromarray(pictures[0]).save(paths[0])
    Image.fromarray(np.tile(pictures[1], (1, 2, 1))).save(paths[1])
    known, other = predict(project, paths)
    assert (known["image"], known["label"], known["text"]) == (str(paths[0]), "fire", " fire")
    assert known["ms"] > 0
    contract = project.contract
    bitmap = contract.bitmap(np.tile(pictures[1], (1, 2, 1)))
    with Runtime(*shipped(project)) as runtime:
        expected = runtime.answer(contract.prompt, bitmap, contract.max_new_tokens)
    assert other["text"] == expected.text
    assert other["label"] == contract.label_of(expected.text)


def test_the_bundle_is_asked_where_nothing_else_was_kept(
    project: Project, exact_pair: tuple[Path, Path]
) -> None:
    put(exact_pair, project.workspace.bundle)
    assert shipped(project)[0].parent == project.workspace.bundle
    put(exact_pair, project.workspace.gguf)
    assert shipped(project)[0].parent == project.workspace.gguf


@pytest.mark.parametrize("where", ["gguf", "bundle"])
def test_files_of_another_contract_are_refused(project: Project, model: Path, where: str) -> None:
    folder = project.workspace.root / where
    contract = project.contract.hash
    export_text(model, folder / "model-F32.gguf", "F32", contract)
    export_vision(model, folder / "mmproj-F32.gguf", "F32", 128, contract)
    assert list(predict(project, [])) == []
    device = {"side": 128, "resize": "lanczos"}
    other = parse_config({"device": device, "convert": {"types": ["F32"]}})
    with pytest.raises(PocketError, match="another contract"):
        list(predict(Project.of(other, project.workspace.root), []))


def test_without_files_it_says_what_to_run(project: Project, tmp_path: Path) -> None:
    with pytest.raises(PocketError, match="run `pocketvlm run` first"):
        list(predict(project, [tmp_path / "picture.png"]))


def test_a_missing_picture_is_named_and_the_next_one_asked(
    project: Project, exact_pair: tuple[Path, Path], pictures: list[Bitmap], tmp_path: Path
) -> None:
    put(exact_pair, project.workspace.gguf)
    Image.fromarray(pictures[0]).save(tmp_path / "here.png")
    gone, here = predict(project, [tmp_path / "gone.png", tmp_path / "here.png"])
    assert "gone.png does not exist" in gone["error"]
    assert "error" not in here
