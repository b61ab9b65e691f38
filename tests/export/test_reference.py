"""The files against those of llama.cpp's own converter, on tiny models and at full size.

The full size takes some two minutes of processor time for both models, 7 GB of disk, and 4 GB of
memory, most of it pages of the files that are compared.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pocketvlm.export import export_text, export_vision
from tests.export.converter import command, prepare, run_converter

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SIDE = 512
TYPES = ("F32", "F16", "Q8_0")


def convert(model: Path, types: Sequence[str], out: Path) -> None:
    """Write out/model-<TYPE>.gguf and out/mmproj-<TYPE>.gguf by the converter."""
    out.mkdir()
    texts = [command(model, type, out / f"model-{type}.gguf") for type in types]
    visions = [command(model, type, out / f"mmproj-{type}.gguf", "--mmproj") for type in types]
    run_converter([*texts, *visions])


def export(model: Path, type: str, out: Path) -> None:
    """The same for one type by this project."""
    export_text(model, out / f"model-{type}.gguf", type)
    export_vision(model, out / f"mmproj-{type}.gguf", type, SIDE)


def make_and_compare(model: Path, folder: Path) -> None:
    """Every type by both, in `folder`."""
    ours, theirs = folder / "ours", folder / "theirs"
    prepare(model, SIDE)
    convert(model, TYPES, theirs)
    for type in TYPES:
        export(model, type, ours)
        compare(ours, theirs, type)


def compare(ours: Path, theirs: Path, type: str) -> None:
    """Two folders: the bytes of every tensor, then the keys."""
    for name in (f"model-{type}.gguf", f"mmproj-{type}.gguf"):
        one, other = gguf.GGUFReader(ours / name), gguf.GGUFReader(theirs / name)
        wanted = {tensor.name: tensor for tensor in other.tensors}
        assert sorted(tensor.name for tensor in one.tensors) == sorted(wanted), name
        for tensor in one.tensors:
            found = wanted[tensor.name]
            assert tensor.tensor_type == found.tensor_type, tensor.name
            assert tensor.shape.tolist() == found.shape.tolist(), tensor.name
            assert np.array_equal(raw(tensor), raw(found)), tensor.name
        compare_keys(keys(one), keys(other))


def raw(tensor: gguf.ReaderTensor) -> Any:
    """Its bytes, not copied."""
    return tensor.data.view(np.uint8)


def keys(file: gguf.GGUFReader) -> dict[str, tuple[list[gguf.GGUFValueType], Any]]:
    """Type and value of every key, without the counts."""
    fields = file.fields.items()
    return {k: (v.types, v.contents()) for k, v in fields if not k.startswith("GGUF.")}


def as_it_is(model: Path) -> None:
    """Float32, one file, config.json of transformers 5."""


def as_hub_bfloat16(model: Path) -> None:
    """Half precision in two shards, config.json of transformers 4, idefics3."""
    weights = {k: v.bfloat16() for k, v in load_file(model / "model.safetensors").items()}
    (model / "model.safetensors").unlink()
    names = sorted(weights)
    parts = {f"model-0000{n}-of-00002.safetensors": names[n - 1 :: 2] for n in (1, 2)}
    for file, part in parts.items():
        save_file({name: weights[name] for name in part}, model / file)
    weight_map = {name: file for file, part in parts.items() for name in part}
    index = model / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    as_idefics3(model)


def as_idefics3(model: Path) -> None:
    """The config.json of transformers 4 for the first SmolVLM."""
    config = json.loads((model / "config.json").read_text())
    config |= {"model_type": "idefics3", "architectures": ["Idefics3ForConditionalGeneration"]}
    config["vision_config"]["model_type"] = "idefics3"
    text = config["text_config"]
    text["rope_theta"] = text.pop("rope_parameters")["rope_theta"]
    (model / "config.json").write_text(json.dumps(config))


def as_uneven(model: Path) -> None:
    """Tied, in float16, with feed-forward layers that Q8_0's blocks do not divide."""
    weights = load_file(model / "model.safetensors")
    del weights["lm_head.weight"]
    for name, tensor in weights.items():
        if ".text_model." in name and ".mlp." in name:
            weights[name] = (tensor[:, :40] if "down_proj" in name else tensor[:40]).contiguous()
    halves = {name: tensor.to(torch.float16) for name, tensor in weights.items()}
    save_file(halves, model / "model.safetensors")
    config = json.loads((model / "config.json").read_text())
    config["tie_word_embeddings"] = True
    config["text_config"] |= {"intermediate_size": 40, "tie_word_embeddings": True}
    (model / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("variant", [as_it_is, as_hub_bfloat16, as_uneven])
def test_the_files_equal_the_converters(
    pristine: Path, tmp_path: Path, variant: Callable[[Path], None]
) -> None:
    model = tmp_path / "model"
    shutil.copytree(pristine, model)
    variant(model)
    make_and_compare(model, tmp_path)


@pytest.mark.parametrize(("size", "variant"), [("256M", as_idefics3), ("500M", as_it_is)])
def test_the_files_equal_the_converters_at_full_size(
    tmp_path: Path, size: str, variant: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    from fullsize_base import build_base

    model = tmp_path / "model"
    build_base(None, model, size)
    variant(model)
    make_and_compare(model, tmp_path)
    for name in ("model", "theirs", "ours"):  # GB, which pytest would keep
        shutil.rmtree(tmp_path / name)


def compare_keys(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Equal, but for what the converter guesses from the folder's name, and the end of the turn."""
    assert ours.pop("tokenizer.ggml.eot_token_id", None) == ours.get("tokenizer.ggml.eos_token_id")
    guessed = {"general.basename", "general.finetune"}
    assert ours == {key: value for key, value in theirs.items() if key not in guessed}
