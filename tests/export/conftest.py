"""A tiny random student of the true architecture, and readers for the files made of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from pocketvlm.student import tiny

Arrays = dict[str, NDArray[Any]]
Change = Callable[[dict[str, Any]], object]
ChangeTensors = Callable[[dict[str, torch.Tensor]], object]


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder that no test changes: a tower of 512 pixels, no value trivially 0 or 1."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny.save_tiny(folder, seed=3, words=["water", "fire"], side=512)
    weights = load_file(folder / "model.safetensors")
    noise = torch.Generator().manual_seed(5)
    for name, tensor in weights.items():
        weights[name] = tensor + 0.05 * torch.randn(tensor.shape, generator=noise)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def model(pristine: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(pristine, tmp_path / "model"))


@pytest.fixture
def change_json(model: Path) -> Callable[[str, Change], None]:
    """Change one JSON file of `model` in place."""

    def change(name: str, how: Change) -> None:
        value = json.loads((model / name).read_text())
        how(value)
        (model / name).write_text(json.dumps(value))

    return change


@pytest.fixture
def change_tensors(model: Path) -> Callable[[ChangeTensors], None]:
    """Change the checkpoint of `model` in place."""

    def change(how: ChangeTensors) -> None:
        weights = load_file(model / "model.safetensors")
        how(weights)
        save_file(weights, model / "model.safetensors")

    return change


@pytest.fixture(scope="session")
def source(pristine: Path) -> Arrays:
    """The checkpoint's tensors by name, float32."""
    return {k: v.numpy() for k, v in load_file(pristine / "model.safetensors").items()}


@pytest.fixture(scope="session")
def tensors() -> Callable[[Path], Arrays]:
    """Reads a GGUF file's tensors, dequantised, in the checkpoint's order of dimensions."""

    def read(path: Path) -> Arrays:
        found = gguf.GGUFReader(path).tensors
        return {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in found}

    return read


@pytest.fixture(scope="session")
def types() -> Callable[[Path], dict[str, str]]:
    """Reads how each tensor of a GGUF file is stored."""
    return lambda path: {t.name: t.tensor_type.name for t in gguf.GGUFReader(path).tensors}


@pytest.fixture(scope="session")
def keys() -> Callable[[Path], dict[str, Any]]:
    """Reads a GGUF file's keys and values."""
    return lambda path: {k: v.contents() for k, v in gguf.GGUFReader(path).fields.items()}
