"""The stage: every type, whole files or none."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pocketvlm.config import Config, parse_config
from pocketvlm.errors import PocketError
from pocketvlm.export import convert
from pocketvlm.project import Project

Keys = Callable[[Path], dict[str, Any]]
ChangeTensors = Callable[[Callable[[dict[str, torch.Tensor]], object]], None]


def project(root: Path, *types: str) -> Project:
    config = {"device": {"side": 256}, "export": {"types": types}}
    return Project.of(Config.model_validate(config), root)


def test_every_type_is_written(pristine: Path, tmp_path: Path, keys: Keys) -> None:
    made = project(tmp_path, "Q8_0", "F16")
    shutil.copytree(pristine, made.workspace.merged)
    figures = convert(made)
    assert figures["contract"] == made.contract.hash
    assert figures["vision_size"] == 256
    assert list(figures["types"]) == ["Q8_0", "F16"]
    for path in made.workspace.gguf.iterdir():
        assert keys(path)["pocketvlm.contract"] == made.contract.hash
    for type, row in figures["types"].items():
        assert row["text_mib"] == round(made.workspace.text_gguf(type).stat().st_size / 2**20, 2)
        assert row["vision_mib"] > 0
        assert row["kept_f16"] == []
    names = sorted(path.name for path in made.workspace.gguf.iterdir())
    assert names == ["mmproj-F16.gguf", "mmproj-Q8_0.gguf", "model-F16.gguf", "model-Q8_0.gguf"]


def test_files_of_other_types_do_not_stay_behind(pristine: Path, tmp_path: Path) -> None:
    """They would be an older model's, and `predict` might ask them."""
    made = project(tmp_path, "F16")
    shutil.copytree(pristine, made.workspace.merged)
    made.workspace.gguf.mkdir()
    for name in ("model-Q8_0.gguf", "mmproj-Q8_0.gguf", ".model-F16.gguf.killed", "notes.txt"):
        (made.workspace.gguf / name).write_bytes(b"old")
    convert(made)
    names = sorted(path.name for path in made.workspace.gguf.iterdir())
    assert names == ["mmproj-F16.gguf", "model-F16.gguf", "notes.txt"]


def test_a_failure_leaves_the_former_file(
    model: Path, tmp_path: Path, change_tensors: ChangeTensors
) -> None:
    made = project(tmp_path, "F16")
    made.workspace.merged.symlink_to(model)
    convert(made)
    before = made.workspace.text_gguf("F16").read_bytes()
    change_tensors(lambda weights: weights["lm_head.weight"].fill_(float("inf")))
    with pytest.raises(PocketError, match="not finite"):
        convert(made)
    assert made.workspace.text_gguf("F16").read_bytes() == before
    assert len(list(made.workspace.gguf.iterdir())) == 2


def test_what_stays_f16_is_said(
    model: Path,
    tmp_path: Path,
    change_tensors: ChangeTensors,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def narrow(weights: dict[str, torch.Tensor]) -> None:
        for layer in (0, 1):
            mlp = f"model.text_model.layers.{layer}.mlp."
            for name in ("gate_proj", "up_proj"):
                weights[f"{mlp}{name}.weight"] = weights[f"{mlp}{name}.weight"][:40].contiguous()
            name = f"{mlp}down_proj.weight"
            weights[name] = weights[name][:, :40].contiguous()

    change_tensors(narrow)
    config = json.loads((model / "config.json").read_text())
    config["text_config"]["intermediate_size"] = 40
    (model / "config.json").write_text(json.dumps(config))
    made = project(tmp_path, "Q8_0")
    made.workspace.merged.symlink_to(model)
    kept = ["blk.0.ffn_down.weight", "blk.1.ffn_down.weight"]
    assert convert(made)["types"]["Q8_0"]["kept_f16"] == kept
    assert "Q8_0: 2 tensors stay F16" in capsys.readouterr().err


def test_the_same_model_gives_the_same_bytes(pristine: Path, tmp_path: Path) -> None:
    made = project(tmp_path, "Q8_0")
    made.workspace.merged.symlink_to(pristine)
    files = made.workspace.text_gguf("Q8_0"), made.workspace.vision_gguf("Q8_0")
    convert(made)
    first = [file.read_bytes() for file in files]
    convert(made)
    assert [file.read_bytes() for file in files] == first


def test_a_model_of_another_contract_is_refused(model: Path, tmp_path: Path) -> None:
    made = project(tmp_path, "F16")
    made.workspace.merged.symlink_to(model)
    Project.of(parse_config({"device": {"side": 128}}), tmp_path).record_contract(model)
    with pytest.raises(PocketError, match="another device contract: run `pocketvlm merge` again"):
        convert(made)
    made.record_contract(model)
    assert convert(made)["contract"] == made.contract.hash


def test_without_a_merged_model_the_mend_is_named(tmp_path: Path) -> None:
    mend = r"merged/config\.json does not exist: run `pocketvlm merge` first"
    with pytest.raises(PocketError, match=mend):
        convert(project(tmp_path, "F16"))
