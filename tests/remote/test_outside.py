"""What the configuration names outside of the project goes along, and is found there."""

import json
import shutil
from pathlib import Path

import pytest

from pocketvlm.config import parse_config
from pocketvlm.errors import ConfigError
from pocketvlm.project import Project
from pocketvlm.remote.parcel import pack
from pocketvlm.remote.transfer import Sending
from pocketvlm.workspace import read_json, write_json
from tests.remote.conftest import PYTHON
from tests.remote.sshd import Sshd, needs_sshd, remote

CONFIG = Path("pocketvlm.yaml")


@needs_sshd
@pytest.mark.slow
def test_pictures_labels_and_base_from_elsewhere(
    server: Sshd, colours: Project, there: Path, tmp_path: Path
) -> None:
    here, elsewhere = colours.workspace.root, tmp_path / 'it\'s "else" $where'
    for name in ("mine", "base"):
        shutil.move(here / name, elsewhere / name)
    labels = json.dumps(str(elsewhere / "mine" / "labels.jsonl"))
    moved = ["--set", f"prepare.custom={labels}", "--set", f"base.model={elsewhere / 'base'}"]
    code, _, said = remote(server, here, "run", *PYTHON, *moved, "--until", "prepare")
    assert code == 0, said
    code, out, said = remote(server, here, "logs", "-f")
    assert out.rstrip().endswith("done"), out + said
    assert len(list((there / "dataset" / "images").iterdir())) == 120
    files = read_json(there / "dataset" / "originals.json")
    assert "outside/prepare.custom/" in json.dumps(files)
    assert (there / "outside" / "base.model" / "base" / "tokenizer.json").is_file()


def project(root: Path, **sections: object) -> Project:
    root.mkdir(parents=True, exist_ok=True)
    return Project.of(parse_config(dict(sections)), root)


def test_pictures_inside_go_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    sendings, overrides = pack(project(tmp_path), CONFIG)
    assert sendings == [Sending(tmp_path, ("pocketvlm.yaml", "pictures"))]
    assert overrides == []


def test_an_absolute_path_inside_is_said_anew(tmp_path: Path) -> None:
    folder = tmp_path / "my pictures"
    folder.mkdir()
    sendings, overrides = pack(project(tmp_path, collect={"folder": str(folder)}), CONFIG)
    assert sendings == [Sending(tmp_path, ("pocketvlm.yaml", "my pictures"))]
    assert overrides == ['collect.folder="my pictures"']


def test_pictures_beside_the_file_that_names_them_keep_their_places(tmp_path: Path) -> None:
    root = tmp_path / "project"
    (tmp_path / "data" / "labels").mkdir(parents=True)
    (tmp_path / "data" / "a.png").touch()
    write_json(tmp_path / "data" / "labels" / "mine.json", [{"image_path": "../a.png"}])
    made = project(root, prepare={"custom": "../data/labels/mine.json"})
    sendings, overrides = pack(made, CONFIG)
    names = ("labels/mine.json", "a.png")
    assert sendings[1:] == [Sending(tmp_path / "data", names, "outside/prepare.custom")]
    assert overrides == ['prepare.custom="outside/prepare.custom/labels/mine.json"']


def test_pictures_named_by_absolute_paths_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    write_json(tmp_path / "mine.json", [{"image_path": str(tmp_path / "a.png")}])
    with pytest.raises(ConfigError, match="relative to the file"):
        pack(project(tmp_path, prepare={"custom": "mine.json"}), CONFIG)


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({}, "collect.folder"),
        ({"prepare": {"custom": "mine.json"}}, "prepare.custom"),
        (
            {"validate": {"truth": "known", "truth_file": "t"}, "prepare": {"custom": "p"}},
            "prepare.custom",
        ),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, sections: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError, match=f"^{key}: .* does not exist"):
        pack(project(tmp_path, **sections), CONFIG)


def test_a_folder_of_pictures_that_holds_the_project_is_never_sent(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds the project itself"):
        pack(project(tmp_path / "project", collect={"folder": ".."}), CONFIG)
