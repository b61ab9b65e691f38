"""The files against those of llama.cpp's own converter, of the very build that runs them.

The converter comes out of llama-cpp-python's source package (sdist.py).
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from safetensors.torch import load_file, save_file

from pocketvlm.export import export_text, export_vision
from tests.sdist import llama_cpp_source

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SIDE = 512
TYPES = ("F32", "F16", "Q8_0")

RUNNER = """
import json, runpy, sys, types
from importlib.machinery import ModuleSpec

root, runs = sys.argv[1], json.loads(sys.argv[2])
sys.path[:0] = [root, root + "/gguf-py"]
# Imported for a tokenizer.model, which SmolVLM has not.
sentencepiece = types.ModuleType("sentencepiece")
sentencepiece.__spec__ = ModuleSpec("sentencepiece", None)
sentencepiece.SentencePieceProcessor = None
sys.modules["sentencepiece"] = sentencepiece
from conversion.base import TextModel
# It knows published tokenizers only, by a hash of the ids they give.
TextModel.get_vocab_base_pre = lambda self, tokenizer: "smollm"
for arguments in runs:
    sys.argv = ["convert_hf_to_gguf.py", *arguments]
    runpy.run_path(root + "/convert_hf_to_gguf.py", run_name="__main__")
"""


@pytest.fixture(scope="session")
def converter() -> Path:
    """The folder of convert_hf_to_gguf.py; fails when the source package cannot be had."""
    return llama_cpp_source()


def convert(converter: Path, model: Path, out: Path) -> None:
    """Write out/model-<TYPE>.gguf and out/mmproj-<TYPE>.gguf by the converter."""
    runs = []
    for type in TYPES:
        common = [str(model), "--outtype", type.lower(), "--model-name", "PocketVLM", "--outfile"]
        runs.append([*common, str(out / f"model-{type}.gguf")])
        runs.append([*common, str(out / f"mmproj-{type}.gguf"), "--mmproj"])
    command = [sys.executable, "-c", RUNNER, str(converter), json.dumps(runs)]
    subprocess.run(command, check=True)


def tensors(path: Path) -> dict[str, tuple[str, list[int], bytes]]:
    """Type, shape and bytes of every tensor."""
    return {
        tensor.name: (tensor.tensor_type.name, tensor.shape.tolist(), tensor.data.tobytes())
        for tensor in gguf.GGUFReader(path).tensors
    }


def keys(path: Path) -> dict[str, tuple[list[gguf.GGUFValueType], Any]]:
    """Type and value of every key, without the counts."""
    fields = gguf.GGUFReader(path).fields
    return {k: (v.types, v.contents()) for k, v in fields.items() if not k.startswith("GGUF.")}


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
    converter: Path, pristine: Path, tmp_path: Path, variant: Callable[[Path], None]
) -> None:
    model, ours, theirs = tmp_path / "model", tmp_path / "ours", tmp_path / "theirs"
    shutil.copytree(pristine, model)
    variant(model)
    values = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"longest_edge": SIDE}}
    (model / "preprocessor_config.json").write_text(json.dumps(values))
    theirs.mkdir()
    convert(converter, model, theirs)
    for type in TYPES:
        export_text(model, ours / f"model-{type}.gguf", type)
        export_vision(model, ours / f"mmproj-{type}.gguf", type, SIDE)
    names = sorted(path.name for path in ours.iterdir())
    assert names == sorted(path.name for path in theirs.iterdir())
    for name in names:
        assert tensors(ours / name) == tensors(theirs / name), name
        compare_keys(keys(ours / name), keys(theirs / name))


def compare_keys(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Equal, but for what the converter guesses from the folder's name, and the end of the turn."""
    assert ours.pop("tokenizer.ggml.eot_token_id", None) == ours.get("tokenizer.ggml.eos_token_id")
    guessed = {"general.basename", "general.finetune"}
    assert ours == {key: value for key, value in theirs.items() if key not in guessed}
