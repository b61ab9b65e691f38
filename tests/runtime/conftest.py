"""A tiny random student of the true architecture, its files, and llama.cpp open on them."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pocketvlm.base import encoder, load_tokenizer
from pocketvlm.config import parse_config
from pocketvlm.contract import END, Contract
from pocketvlm.export import export_text, export_vision
from pocketvlm.pictures import Bitmap
from pocketvlm.runtime import Runtime, ask_layout
from pocketvlm.student import tiny
from pocketvlm.student.load import load_model
from pocketvlm.student.student import Student

SIDE = 128

Pair = tuple[Path, Path]
"""A text file and its vision file."""


def files(model: Path, out: Path, kind: str) -> Pair:
    """Both files of a model folder."""
    text, vision = out / f"model-{kind}.gguf", out / f"mmproj-{kind}.gguf"
    export_text(model, text, kind)
    export_vision(model, vision, kind, SIDE)
    return text, vision


def make_model(folder: Path, words: Iterable[str]) -> Path:
    """A model folder whose weights are large enough for pictures to change the answer."""
    tiny.save_tiny(folder, seed=1, words=words, side=SIDE)
    weights = load_file(folder / "model.safetensors")
    random = torch.Generator().manual_seed(2)
    for name, tensor in weights.items():
        weights[name] = tensor + 0.1 * torch.randn(tensor.shape, generator=random)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="session")
def contract() -> Contract:
    return Contract.of(parse_config({"device": {"side": SIDE, "max_new_tokens": 8}}))


@pytest.fixture(scope="session")
def pictures() -> list[Bitmap]:
    """Random pixels, six times."""
    random = np.random.default_rng(0)
    return list(random.integers(0, 256, (6, SIDE, SIDE, 3), dtype=np.uint8))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, contract: Contract) -> Path:
    return make_model(tmp_path_factory.mktemp("tiny"), contract.labels)


@pytest.fixture(scope="session")
def student(model: Path, contract: Contract) -> Student:
    layout = ask_layout(model, contract)
    return Student(load_model(model, torch.float32), load_tokenizer(model), contract, layout)


@pytest.fixture(scope="session")
def exact_pair(model: Path) -> Pair:
    return files(model, model, "F32")


@pytest.fixture(scope="session")
def pair(model: Path) -> Pair:
    return files(model, model, "Q8_0")


@pytest.fixture(scope="session")
def exact(exact_pair: Pair) -> Iterator[Runtime]:
    with Runtime(*exact_pair, exact=True, threads=1) as runtime:
        yield runtime


@pytest.fixture(scope="session")
def runtime(pair: Pair) -> Iterator[Runtime]:
    with Runtime(*pair, threads=1) as runtime:
        yield runtime


@pytest.fixture(scope="session")
def says(
    model: Path, contract: Contract, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Bitmap, str], Pair]:
    """Makes files that answer one picture with one label: the rows of the output matrix are swapped
    until the likeliest tokens are those of the answer."""

    def make(bitmap: Bitmap, label: str) -> Pair:
        folder = Path(shutil.copytree(model, tmp_path_factory.mktemp("says") / "model"))
        encode = encoder(load_tokenizer(folder))
        weights = load_file(folder / "model.safetensors")
        head = weights["lm_head.weight"]
        for at, wanted in enumerate(encode(f" {label}{END}")):
            with Runtime(*files(folder, folder, "F32"), threads=1) as runtime:
                said = runtime.answer(contract.prompt, bitmap, at + 1).ids[at]
            head[[said, wanted]] = head[[wanted, said]]
            save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return files(folder, folder, "F32")

    return make
