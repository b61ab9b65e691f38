"""The stage: every type, whole files or none."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import pytest
import torch

from pocketvlm.config import Config, parse_config
from pocketvlm.errors import PocketError
from pocketvlm.export import convert
from pocketvlm.export.convert import plan
from pocketvlm.project import Project

Keys = Callable[[Path], dict[str, Any]]
ChangeTensors = Callable[[Callable[[dict[str, torch.Tensor]], object]], None]


def project(root: Path, *types: str, mmproj: Sequence[str] = ("F16",)) -> Project:
    config = {"device": {"side": 256}, "export": {"types": types, "mmproj": mmproj}}
    return Project.of(Config.model_validate(config), root)


def names(made: Project) -> list[str]:
    return sorted(path.name for path in made.workspace.gguf.iterdir())


def test_every_type_is_written(pristine: Path, tmp_path: Path, keys: Keys) -> None:
    made = project(tmp_path, "Q8_0", "Q4_0", "F32", mmproj=("F16", "Q8_0"))
    made.workspace.merged.symlink_to(pristine)
    figures = convert(made)
    assert figures["contract"] == made.contract.hash
    assert figures["vision_size"] == 256
    assert list(figures["text"]) == ["Q8_0", "Q4_0", "F32"]
    assert list(figures["mmproj"]) == ["F16", "Q8_0"]
    wanted = ["mmproj-F16", "mmproj-Q8_0", "model-F32", "model-Q4_0", "model-Q8_0"]
    assert names(made) == [f"{name}.gguf" for name in wanted]
    for path in made.workspace.gguf.iterdir():
        assert keys(path)["pocketvlm.contract"] == made.contract.hash


def test_sizes_are_those_of_the_files_and_known_before(pristine: Path, tmp_path: Path) -> None:
    types = "F32", "F16", "Q8_0", "Q5_0", "Q4_0", "Q4_K_M"
    made = project(tmp_path, *types, mmproj=types[:3])
    made.workspace.merged.symlink_to(pristine)
    sizes = {job.out: job.size for job in plan(made)}
    assert not made.workspace.gguf.exists()
    figures = convert(made)
    for path, size in sizes.items():
        section, type = path.stem.split("-")
        row = figures["mmproj" if section == "mmproj" else "text"][type]
        assert row["mib"] == round(path.stat().st_size / 2**20, 2)
        assert size == path.stat().st_size
        assert row["predicted_mib"] == round(size / 2**20, 2)


def test_shares_are_told_of_every_type(pristine: Path, tmp_path: Path) -> None:
    made = project(tmp_path, "Q8_0", "Q4_0")
    made.workspace.merged.symlink_to(pristine)
    figures = convert(made)
    assert list(figures["text"]["Q8_0"]["tensors"]) == ["Q8_0", "F32"]
    found = gguf.GGUFReader(made.workspace.text_gguf("Q4_0")).tensors
    for type, row in figures["text"]["Q4_0"]["tensors"].items():
        same = [tensor for tensor in found if tensor.tensor_type.name == type]
        bytes = sum(one.n_bytes for one in same) / sum(one.n_bytes for one in found)
        parameters = sum(one.n_elements for one in same) / sum(one.n_elements for one in found)
        assert row["bytes"] == pytest.approx(bytes, abs=1e-4)
        assert row["parameters"] == pytest.approx(parameters, abs=1e-4)
    assert sum(row["bytes"] for row in figures["text"]["Q4_0"]["tensors"].values()) == (
        pytest.approx(1, abs=1e-3)
    )


def test_a_name_that_misleads_is_told(
    pristine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows of 64 hold no block of Q4_K."""
    made = project(tmp_path, "Q4_0", "Q4_K_M")
    made.workspace.merged.symlink_to(pristine)
    figures = convert(made)
    (warning,) = figures["warnings"]
    assert warning.startswith("model-Q4_K_M.gguf: ")
    assert "0% Q4_K" in warning
    assert "model-Q4_K_M.gguf: " in capsys.readouterr().err
    assert "Q4_K" not in figures["text"]["Q4_K_M"]["tensors"]


def test_the_quantisers_source_goes(pristine: Path, tmp_path: Path) -> None:
    """Whether the F16 file is exported too or not, the quantised one is the same."""
    made = project(tmp_path, "Q4_0")
    made.workspace.merged.symlink_to(pristine)
    convert(made)
    assert names(made) == ["mmproj-F16.gguf", "model-Q4_0.gguf"]
    alone = made.workspace.text_gguf("Q4_0").read_bytes()
    convert(project(tmp_path, "Q4_0", "F16"))
    assert names(made) == ["mmproj-F16.gguf", "model-F16.gguf", "model-Q4_0.gguf"]
    assert made.workspace.text_gguf("Q4_0").read_bytes() == alone


def test_files_of_other_types_do_not_stay_behind(
    pristine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They would be an older model's, and `predict` might ask them."""
    made = project(tmp_path, "F16")
    made.workspace.merged.symlink_to(pristine)
    made.workspace.gguf.mkdir()
    theirs = ["mmproj-Q4_0.gguf", "model-IQ4_XS.gguf", "notes.txt"]
    for name in ("model-Q8_0.gguf", "mmproj-Q8_0.gguf", *theirs):
        (made.workspace.gguf / name).write_bytes(b"old")
    convert(made)
    assert names(made) == sorted(["mmproj-F16.gguf", "model-F16.gguf", *theirs])
    assert "removed mmproj-Q8_0.gguf, model-Q8_0.gguf: " in capsys.readouterr().err
    convert(made)
    assert "removed" not in capsys.readouterr().err


KILLED = """
import os, sys, threading, time
from pathlib import Path
from pocketvlm.config import parse_config
from pocketvlm.export import convert
from pocketvlm.export.convert import plan
from pocketvlm.project import Project

root, wanted = Path(sys.argv[1]), sys.argv[2]

def watch():
    while not list((root / "gguf").glob(wanted)):
        time.sleep(0)
    os._exit(9)

threading.Thread(target=watch, daemon=True).start()
convert(Project.of(parse_config({"export": {"types": ["Q4_0"], "mmproj": ["F16"]}}), root))
"""


@pytest.mark.parametrize("moment", [".made.*/.mmproj-F16.gguf.*", ".made.*/model-F16.gguf"])
def test_a_killed_run_leaves_nothing_that_counts(
    pristine: Path, tmp_path: Path, moment: str
) -> None:
    made = project(tmp_path, "Q4_0")
    made.workspace.merged.symlink_to(pristine)
    made.workspace.gguf.mkdir()
    made.workspace.text_gguf("Q4_0").write_bytes(b"older")
    command = [sys.executable, "-c", KILLED, str(tmp_path), moment]
    assert subprocess.run(command, capture_output=True).returncode == 9
    left, *files = names(made)
    assert left.startswith(".made.")
    assert files == ["model-Q4_0.gguf"]
    assert made.workspace.text_gguf("Q4_0").read_bytes() == b"older"
    convert(made)
    assert names(made) == ["mmproj-F16.gguf", "model-Q4_0.gguf"]


def test_a_full_disk_is_told_before_anything_is_written(
    pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = project(tmp_path, "Q4_0")
    made.workspace.merged.symlink_to(pristine)
    jobs = plan(made)
    needed = sum(job.size for job in jobs) + jobs[-1].draft.size
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed - 1))
    with pytest.raises(PocketError, match=r"2 files, 0\.00 GB, and 0\.00 GB of F16 for a moment"):
        convert(made)
    assert names(made) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed))
    convert(made)


def test_a_failure_leaves_all_former_files(
    model: Path, tmp_path: Path, change_tensors: ChangeTensors
) -> None:
    """A new text file beside an old vision file would be nobody's model."""
    made = project(tmp_path, "F16", "Q4_0")
    made.workspace.merged.symlink_to(model)
    convert(made)
    before = {path: path.read_bytes() for path in made.workspace.gguf.iterdir()}
    projector = "model.connector.modality_projection.proj.weight"
    change_tensors(lambda weights: weights["lm_head.weight"].fill_(1.0))
    change_tensors(lambda weights: weights[projector].fill_(float("inf")))
    with pytest.raises(PocketError, match="not finite"):
        convert(made)
    assert {path: path.read_bytes() for path in made.workspace.gguf.iterdir()} == before


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
    assert "F16" in convert(made)["text"]["Q8_0"]["tensors"]
    wanted = "2 tensors stay F16 (rows no multiple of 32), first blk.0.ffn_down.weight"
    assert wanted in capsys.readouterr().err


def test_the_same_model_gives_the_same_bytes(pristine: Path, tmp_path: Path) -> None:
    made = project(tmp_path, "Q8_0")
    made.workspace.merged.symlink_to(pristine)
    files = made.workspace.text_gguf("Q8_0"), made.workspace.vision_gguf("F16")
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
