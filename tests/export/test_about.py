"""What a file says of itself, also after the runtime's quantiser."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pocketvlm.config import parse_config
from pocketvlm.errors import PocketError
from pocketvlm.export import convert
from pocketvlm.export.about import About
from pocketvlm.project import Project
from pocketvlm.workspace import write_json, write_rows

Keys = Callable[[Path], dict[str, Any]]
OWNER, BASE, COMMIT = "HuggingFaceTB", "SmolVLM-256M-Instruct", "0123456789" * 4


def project(root: Path, **sections: Any) -> Project:
    export = {"types": ["Q8_0", "Q4_0"], "mmproj": ["F16"]}
    return Project.of(parse_config({"export": export} | sections), root)


def trained(root: Path, base: dict[str, Any], **sections: Any) -> Project:
    """A workspace with the records of a training."""
    made = project(root, **sections)
    write_json(made.workspace.adapter / "base.json", base)
    for split, count in (("train", 5), ("test", 2)):
        rows = [{"id": str(at), "image": "x.png", "label": "water"} for at in range(count)]
        write_rows(made.workspace.split(split), rows)
    return made


def said(found: dict[str, Any]) -> dict[str, Any]:
    """What is for people, without sizes and types."""
    mechanical = ("architecture", "type", "size_label", "file_type", "quantization_version")
    skipped = {f"general.{name}" for name in mechanical}
    told = {k: v for k, v in found.items() if k.startswith(("general.", "pocketvlm."))}
    return {key: value for key, value in told.items() if key not in skipped}


def test_every_file_says_what_it_is(pristine: Path, tmp_path: Path, keys: Keys) -> None:
    record = {"model": f"{OWNER}/{BASE}", "revision": "main", "commit": COMMIT}
    teacher = {"base_url": "http://127.0.0.1:1/v1", "model": "a-teacher"}
    made = trained(tmp_path, record, teachers=[teacher])
    write_rows(made.workspace.answers, [{"kind": "answer", "model": "a-teacher"}])
    made.workspace.merged.symlink_to(pristine)
    convert(made)
    wanted = {
        "general.name": f"{BASE}: water, land, fire, wood, metal",
        "general.description": made.config.task.question,
        "general.license": "apache-2.0",
        "general.base_model.count": 1,
        "general.base_model.0.name": BASE,
        "general.base_model.0.organization": OWNER,
        "general.base_model.0.version": COMMIT,
        "general.base_model.0.repo_url": f"https://huggingface.co/{OWNER}/{BASE}",
        "pocketvlm.contract": made.contract.hash,
        "pocketvlm.pictures.train": 5,
        "pocketvlm.pictures.test": 2,
        "pocketvlm.teachers": ["a-teacher"],
    }
    for path in made.workspace.gguf.iterdir():
        assert said(keys(path)) == wanted, path.name


def test_the_quantiser_names_its_own_type(pristine: Path, tmp_path: Path, keys: Keys) -> None:
    made = project(tmp_path)
    made.workspace.merged.symlink_to(pristine)
    convert(made)
    ours = keys(made.workspace.text_gguf("Q8_0"))
    theirs = keys(made.workspace.text_gguf("Q4_0"))
    assert (ours["general.file_type"], theirs["general.file_type"]) == (7, 2)
    assert {key for key in ours if ours[key] != theirs.get(key)} == {"general.file_type"}


def test_a_folder_is_named_without_the_way_there(tmp_path: Path) -> None:
    made = trained(tmp_path, {"model": "/home/me/secret/mine", "revision": None, "sha256": {}})
    about = About.of(made)
    assert about.name == "mine: water, land, fire, wood, metal"
    assert about.licence == ""


def test_a_folders_keys(pristine: Path, tmp_path: Path, keys: Keys) -> None:
    made = trained(tmp_path, {"model": "/home/me/secret/mine", "revision": None, "sha256": {}})
    made.workspace.merged.symlink_to(pristine)
    convert(made)
    found = keys(made.workspace.vision_gguf("F16"))
    base = {key: value for key, value in found.items() if "base_model" in key}
    assert base == {"general.base_model.count": 1, "general.base_model.0.name": "mine"}
    assert "general.license" not in found
    assert "secret" not in str(found)


def test_nothing_is_said_of_what_is_not_known(pristine: Path, tmp_path: Path, keys: Keys) -> None:
    made = project(tmp_path)
    made.workspace.merged.symlink_to(pristine)
    convert(made)
    found = keys(made.workspace.text_gguf("Q8_0"))
    assert said(found) == {
        "general.name": "SmolVLM: water, land, fire, wood, metal",
        "general.description": made.config.task.question,
        "pocketvlm.contract": made.contract.hash,
    }


def test_many_labels_do_not_fit_a_name(tmp_path: Path) -> None:
    labels = {f"label{letter}": "one of them" for letter in "abcdefgh"}
    made = project(tmp_path, task={"question": "Which one?", "labels": labels})
    wanted = "labela, labelb, labelc, labeld, labele, labelf, and 2 more"
    assert About.of(made).name == f"SmolVLM: {wanted}"


def test_a_broken_record_is_named(pristine: Path, tmp_path: Path) -> None:
    made = project(tmp_path)
    made.workspace.merged.symlink_to(pristine)
    made.workspace.adapter.mkdir()
    (made.workspace.adapter / "base.json").write_text("{")
    with pytest.raises(PocketError, match=r"base\.json is not JSON"):
        convert(made)
    assert not made.workspace.gguf.exists()
