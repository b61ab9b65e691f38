"""Reading safetensors: stored types, shards, and folders that are broken."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pocketvlm.errors import PocketError
from pocketvlm.export.checkpoint import Checkpoint

HEAD = "lm_head.weight"
Change = Callable[[Callable[[dict[str, torch.Tensor]], object]], None]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_values_are_those_of_torch(tmp_path: Path, dtype: torch.dtype) -> None:
    values = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    save_file({"x": values}, tmp_path / "model.safetensors")
    read = Checkpoint.open(tmp_path).read("x")
    assert read.shape == (7, 5)
    assert np.array_equal(read.astype(np.float32), values.float().numpy())


def test_shards_are_joined(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    whole = Checkpoint.open(model)
    names = sorted(weights)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: weights[name] for name in part}, model / file)
    weight_map = {name: file for file, part in parts.items() for name in part}
    index = model / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    (model / "model.safetensors").unlink()
    shards = Checkpoint.open(model)
    assert shards.tensors.keys() == whole.tensors.keys()
    assert np.array_equal(shards.read(HEAD), weights[HEAD].numpy())
    (model / "b.safetensors").unlink()
    with pytest.raises(PocketError, match=r"b\.safetensors does not exist"):
        Checkpoint.open(model)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PocketError, match=r"model\.safetensors does not exist"):
        Checkpoint.open(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x09" + bytes(7) + b"not json!", b"<html>" * 9])
def test_another_file_is_told_apart(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(PocketError, match="is no safetensors file"):
        Checkpoint.open(tmp_path)


def test_a_cut_file_is_told_apart(model: Path) -> None:
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(PocketError, match="is cut short at"):
        Checkpoint.open(model)


def test_a_missing_tensor_is_named(model: Path, change_tensors: Change) -> None:
    change_tensors(lambda weights: weights.pop(HEAD))
    with pytest.raises(PocketError, match=r"has no tensor lm_head\.weight"):
        Checkpoint.open(model).shape(HEAD)


def test_a_quantised_checkpoint_is_refused(model: Path, change_tensors: Change) -> None:
    change_tensors(lambda weights: weights.update({HEAD: weights[HEAD].to(torch.int8)}))
    with pytest.raises(PocketError, match=r"lm_head\.weight is stored as I8"):
        Checkpoint.open(model)


def test_a_diverged_training_is_seen(model: Path, change_tensors: Change) -> None:
    change_tensors(lambda weights: weights[HEAD][3, 4].fill_(float("nan")))
    with pytest.raises(PocketError, match=r"lm_head\.weight holds values that are not finite"):
        Checkpoint.open(model).read(HEAD)
