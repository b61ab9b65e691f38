"""The audit names the first level at which torch and llama.cpp part, and is silent where none."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from pocketvlm.config import parse_config
from pocketvlm.contract import FAKE, IMAGE, OVERVIEW
from pocketvlm.errors import GateMissed, PocketError
from pocketvlm.export import convert, export_text, export_vision
from pocketvlm.pictures import Bitmap
from pocketvlm.project import Project
from pocketvlm.runtime.resize import set_preprocessed_side
from pocketvlm.student import load_adapter, merge, train
from pocketvlm.validate.audit import audit, check_audit, levels, table
from pocketvlm.workspace import Row, read_json, write_json

from .conftest import settings

EXPORT = {"types": ["Q8_0", "F16"], "mmproj": ["Q8_0"]}


@pytest.fixture(scope="module")
def whole(trained: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A trained project whose test pictures have originals; no test changes it."""
    root = tmp_path_factory.mktemp("audited") / "project"
    project = copied(trained, root)
    originals = {}
    for at in range(3):
        image = f"images/test{at}.png"
        with Image.open(project.workspace.dataset / image) as bitmap:
            large = bitmap.resize((200, 130))
        large.save(root / f"original{at}.png")
        made = project.contract.open(root / f"original{at}.png")
        Image.fromarray(made).save(project.workspace.dataset / image)
        originals[image] = f"original{at}.png"
    write_json(project.workspace.dataset / "originals.json", originals)
    return project


@pytest.fixture
def project(whole: Project, tmp_path: Path) -> Project:
    """A copy that a test may spoil."""
    return copied(whole, tmp_path / "project")


def copied(project: Project, root: Path, **sections: Any) -> Project:
    shutil.copytree(project.workspace.root, root)
    config = settings(gates={"accuracy": 0.0}, export=EXPORT) | sections
    return Project.of(parse_config(config), root)


def named(figures: Row) -> str:
    """The level that the missed gate names."""
    with pytest.raises(GateMissed) as missed:
        check_audit(figures)
    assert missed.value.exit_code == 3
    level: str = figures["first_break"]["level"]
    assert repr(level) in str(missed.value)
    assert levels.CAUSES[level] in str(missed.value)
    return level


def test_a_default_project_has_no_break(whole: Project) -> None:
    figures = audit(whole, 1000)
    check_audit(figures)
    assert (figures["pictures"], figures["originals"]) == (33, 3)
    rows = {(row["level"], row["type"]): row for row in figures["levels"]}
    assert len(rows) == 1 + 4 * 3 + 1
    assert rows["bitmaps", "-"]["worst"] == 0
    assert rows["token ids", "F32"]["worst"] == 0
    rounded, plain = (rows["image embeddings", kind] for kind in ("F32", "F32, torch unrounded"))
    assert 0 < rounded["worst"] < 3e-4 < 3e-3
    assert rounded["worst"] < 0.5 * plain["worst"]
    assert (plain["limit"], plain["agreement"]) == (None, None)
    assert 0 < rows["first-token logits", "F32"]["worst"] < 1e-4
    assert rows["first-token logits", "Q8_0 as shipped"]["limit"] is None
    assert rows["answers", "F32"]["agreement"] == 1.0
    assert figures["other_build"] is None
    text = table(figures)
    assert "DIFFERS" not in text and "mind" not in text and text.count("equal") == 1 + 4 + 2 * 2
    assert not list((whole.workspace.root / "state").glob("reference.*"))


def lanczos(bitmap: Bitmap, root: Path) -> Bitmap:
    with Image.open(root / "original1.png") as original:
        small = original.convert("RGB").resize((64, 41), Image.Resampling.LANCZOS)
    made = np.zeros_like(bitmap)
    made[11:52] = np.asarray(small)
    return made


SPOILED: dict[str, tuple[Callable[[Bitmap, Path], Bitmap], str]] = {
    "Lanczos": (lanczos, "other pixels everywhere"),
    "a swapped channel": (lambda bitmap, _: bitmap[:, :, ::-1], "red and blue are swapped"),
    "one pixel of offset": (
        lambda bitmap, _: np.roll(bitmap, (1, 0), (0, 1)),
        "moved by 0 right and 1 down",
    ),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_other_bitmaps_are_named_with_picture_and_likely_cause(project: Project, kind: str) -> None:
    change, cause = SPOILED[kind]
    path = project.workspace.dataset / "images/test1.png"
    bitmap = project.contract.open(project.workspace.root / "original1.png")
    Image.fromarray(np.ascontiguousarray(change(bitmap, project.workspace.root))).save(path)
    figures = audit(project, 9)
    assert named(figures) == "bitmaps"
    assert figures["first_break"]["picture"] == "images/test1.png"
    assert cause in figures["first_break"]["note"]


def test_an_original_that_went_missing_is_not_compared(project: Project) -> None:
    (project.workspace.root / "original1.png").unlink()
    figures = audit(project, 3)
    check_audit(figures)
    assert figures["originals"] == 2


def test_a_full_disk_is_told_before_it_is_filled(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(PocketError, match=r"writes 0\.0 GB of F32 files .*state.*make room"):
        audit(project, 1)
    assert list((project.workspace.root / "state").glob("reference.*")) == []


def test_what_a_killed_audit_left_is_removed(project: Project) -> None:
    left = project.workspace.root / "state" / "reference.killed"
    left.mkdir(parents=True)
    audit(project, 1)
    assert not left.exists()


def test_a_layout_that_is_not_recorded_is_told(project: Project) -> None:
    (project.workspace.adapter / "contract.json").unlink()
    figures = audit(project, 3)
    assert figures["layout_recorded"] is False
    assert "token ids say nothing" in table(figures)


def test_another_build_is_named(project: Project) -> None:
    path = project.workspace.adapter / "contract.json"
    record = read_json(path)
    record["runtime"] |= {"package": "llama-cpp-python 9.9"}
    write_json(path, record)
    assert "under llama-cpp-python 9.9" in table(audit(project, 3))


def test_files_of_another_model_are_told(project: Project, tmp_path: Path) -> None:
    from pocketvlm.student.tiny import save_tiny

    save_tiny(tmp_path / "other", words=["quite", "another"], side=64, size="demo")
    for export, file in (
        (export_text, project.workspace.text_gguf("Q8_0")),
        (partial(export_vision, vision_size=64), project.workspace.vision_gguf("Q8_0")),
    ):
        export(tmp_path / "other", file, "Q8_0")
    with pytest.raises(PocketError, match=r"have \d+ .*, the student \d+: run `pocketvlm convert`"):
        audit(project, 3)
    project.workspace.text_gguf("Q8_0").unlink()
    with pytest.raises(PocketError, match=r"model-Q8_0\.gguf does not exist"):
        audit(project, 3)


def test_weights_that_are_far_too_large_break_the_tower(project: Project) -> None:
    """llama.cpp and torch with its roundings agree also outside of the table of GELU."""
    weights = load_file(project.workspace.merged / "model.safetensors")
    name = next(
        name for name in weights if name.endswith("vision_model.encoder.layers.0.mlp.fc1.bias")
    )
    weights[name] = weights[name] + torch.tensor([50.0, -50.0]).repeat(len(weights[name]) // 2)
    save_file(weights, project.workspace.merged / "model.safetensors", metadata={"format": "pt"})
    convert(project)
    shutil.rmtree(project.workspace.adapter)
    figures = audit(project, 3)
    rows = {(row["level"], row["type"]): row for row in figures["levels"]}
    assert rows["image embeddings", "F32"]["worst"] < 1e-3
    assert figures["layout_recorded"]


def test_another_layout_than_the_trained_one_is_named(project: Project) -> None:
    """As if the student had been trained on transformers' own layout of one tile."""
    student = load_adapter(project)
    path = project.workspace.adapter / "contract.json"
    record = read_json(path)
    tile = [student.encode(IMAGE)[0]]
    own = student.encode(FAKE + OVERVIEW), student.encode(FAKE + "\nWhat is it?\n\nElement:")
    record["layout"] = [{"text": own[0]}, {"picture": len(tile)}, {"text": own[1]}]
    write_json(path, record | {"layout_words": "transformers' own"})
    figures = audit(project, 3)
    assert named(figures) == "token ids"
    assert 'trained was "transformers\' own"' in figures["first_break"]["note"]
    assert "row_1_col_1" in figures["first_break"]["note"]


def test_stock_metadata_is_named_on_the_file_that_has_it(project: Project) -> None:
    set_preprocessed_side(project.workspace.vision_gguf("Q8_0"), 256)
    figures = audit(project, 3)
    assert named(figures) == "token ids"
    assert figures["first_break"]["type"] == "Q8_0 as shipped"
    assert "row_4_col_4" in figures["first_break"]["note"]


@pytest.mark.parametrize(
    ("vision", "level"), [("frozen", "first-token logits"), ("connector", "image embeddings")]
)
def test_files_older_than_the_adapter_are_named(
    project: Project, tmp_path: Path, vision: str, level: str
) -> None:
    learning = {"epochs": 2, "learning_rate": 1e-2, "seed": 5, "vision": vision}
    later = copied(project, tmp_path / "later", train=learning)
    train(later)
    assert named(audit(later, 3)) == level
    merge(later)
    convert(later)
    check_audit(audit(later, 3))


def test_near_ties_are_listed_and_not_counted(project: Project, tmp_path: Path) -> None:
    """Files of another training answer otherwise; where they say what torch holds second best, a
    wide margin makes it a near-tie, and only there."""
    learning = {"epochs": 4, "learning_rate": 3e-2, "seed": 1}
    wide = {"near_tie": 1e9, "text": 1e9, "tower": 1e9}
    later = copied(project, tmp_path / "later", train=learning, audit=wide)
    train(later)
    strict = Project.of(
        parse_config(settings(train=learning, export=EXPORT, audit=wide | {"near_tie": 0.0})),
        later.workspace.root,
    )
    loosely, strictly = (audit(one, 33) for one in (later, strict))
    assert named(strictly) == "answers"
    assert strictly["near_ties"] == []
    ties = [tie for tie in loosely["near_ties"] if tie["type"] == "F32"]
    assert all(tie["margin"] >= 0 and "instead of" in tie["note"] for tie in ties)
    shares = [
        next(row["agreement"] for row in one["levels"] if row["level"] == "answers")
        for one in (loosely, strictly)
    ]
    assert shares[0] == pytest.approx(shares[1] + len(ties) / 33)
    assert ties


def test_a_single_tile_is_audited_as_it_is_asked(whole: Project, tmp_path: Path) -> None:
    device = {"side": 64, "tiles": "single"}
    single = copied(whole, tmp_path / "single", device=device)
    single.record_contract(single.workspace.dataset)
    train(single)
    merge(single)
    convert(single)
    figures = audit(single, 9)
    check_audit(figures)
    assert load_adapter(single).layout.tiles == (1,)
