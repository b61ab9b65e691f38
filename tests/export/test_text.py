"""The text file: keys, tensors, stored types."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from pocketvlm.errors import PocketError
from pocketvlm.export import export_text
from pocketvlm.export.text import interleave

Arrays = dict[str, NDArray[Any]]
Change = Callable[[str, Callable[[dict[str, Any]], object]], None]
ChangeTensors = Callable[[Callable[[dict[str, torch.Tensor]], object]], None]
LAYER = "model.text_model.layers.1."


def test_the_keys_are_these(
    pristine: Path, tmp_path: Path, source: Arrays, keys: Callable[[Path], Any]
) -> None:
    export_text(pristine, tmp_path / "out.gguf", "Q8_0")
    vision = ("model.vision_model.", "model.connector.")
    parameters = sum(v.size for k, v in source.items() if not k.startswith(vision))
    found = keys(tmp_path / "out.gguf")
    sizes = {key: value for key, value in found.items() if not key.startswith("tokenizer.")}
    assert sizes == {
        "GGUF.version": 3,
        "GGUF.tensor_count": 3 + 2 * 9,
        "GGUF.kv_count": len(found) - 3,
        "general.architecture": "llama",
        "general.type": "model",
        "general.name": "PocketVLM",
        "general.size_label": f"{parameters / 1000:.0f}K",
        "general.file_type": 7,
        "general.quantization_version": 2,
        "llama.block_count": 2,
        "llama.context_length": 2048,
        "llama.embedding_length": 64,
        "llama.feed_forward_length": 128,
        "llama.attention.head_count": 2,
        "llama.attention.head_count_kv": 1,
        "llama.attention.key_length": 32,
        "llama.attention.value_length": 32,
        "llama.attention.layer_norm_rms_epsilon": float(np.float32(1e-5)),
        "llama.rope.freq_base": 100000.0,
        "llama.rope.dimension_count": 32,
        "llama.vocab_size": found["llama.vocab_size"],
    }


@pytest.mark.parametrize(("type", "error"), [("F32", 0.0), ("F16", 5e-4), ("Q8_0", 4e-3)])
def test_every_tensor_arrives(
    pristine: Path,
    tmp_path: Path,
    source: Arrays,
    tensors: Callable[[Path], Arrays],
    types: Callable[[Path], dict[str, str]],
    type: str,
    error: float,
) -> None:
    out = tmp_path / "out.gguf"
    assert export_text(pristine, out, type) == []
    found, stored = tensors(out), types(out)
    expected = {
        "token_embd.weight": source["model.text_model.embed_tokens.weight"],
        "output.weight": source["lm_head.weight"],
        "output_norm.weight": source["model.text_model.norm.weight"],
        "blk.1.attn_norm.weight": source[LAYER + "input_layernorm.weight"],
        "blk.1.attn_v.weight": source[LAYER + "self_attn.v_proj.weight"],
        "blk.1.attn_output.weight": source[LAYER + "self_attn.o_proj.weight"],
        "blk.1.ffn_norm.weight": source[LAYER + "post_attention_layernorm.weight"],
        "blk.1.ffn_gate.weight": source[LAYER + "mlp.gate_proj.weight"],
        "blk.1.ffn_up.weight": source[LAYER + "mlp.up_proj.weight"],
        "blk.1.ffn_down.weight": source[LAYER + "mlp.down_proj.weight"],
    }
    for name, wanted in expected.items():
        scale = np.abs(wanted).max()
        assert found[name].shape == wanted.shape
        assert np.abs(found[name] - wanted).max() <= error * scale, name
        assert stored[name] == ("F32" if name.endswith("_norm.weight") else type)


@given(heads=st.integers(1, 6), pairs=st.integers(1, 8), seed=st.integers(0, 99))
def test_interleaved_rows_rotate_as_transformers_rotates(heads: int, pairs: int, seed: int) -> None:
    """llama.cpp turns rows 2i and 2i + 1 of a head by the angle that transformers gives to i."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(heads * 2 * pairs, 5))
    x, angles = rng.normal(size=5), rng.uniform(0, 6, pairs)
    twice = torch.from_numpy(np.concatenate([angles, angles]))[None, None]
    query = torch.from_numpy((weights @ x).reshape(1, heads, 1, 2 * pairs))
    theirs, _ = apply_rotary_pos_emb(query, query, twice.cos(), twice.sin())
    flat = (interleave(weights, 2 * pairs) @ x).reshape(heads, pairs, 2)
    turned = (flat[..., 0] + 1j * flat[..., 1]) * np.exp(1j * angles)
    halves = theirs.numpy().reshape(heads, 2, pairs)
    assert np.allclose(turned, halves[:, 0] + 1j * halves[:, 1])


def test_queries_and_keys_are_interleaved(
    pristine: Path, tmp_path: Path, source: Arrays, tensors: Callable[[Path], Arrays]
) -> None:
    export_text(pristine, tmp_path / "out.gguf", "F32")
    found = tensors(tmp_path / "out.gguf")
    for name in ("q", "k"):
        wanted = interleave(source[f"{LAYER}self_attn.{name}_proj.weight"], 32)
        assert np.array_equal(found[f"blk.1.attn_{name}.weight"], wanted)


def test_a_tied_model_has_one_matrix(
    model: Path,
    change_json: Change,
    change_tensors: ChangeTensors,
    tensors: Callable[[Path], Arrays],
) -> None:
    change_json("config.json", lambda config: config.update(tie_word_embeddings=True))
    change_tensors(lambda weights: weights.pop("lm_head.weight"))
    export_text(model, model / "out.gguf", "F16")
    found = tensors(model / "out.gguf")
    assert "output.weight" not in found
    assert "token_embd.weight" in found


def test_a_head_that_is_missing_is_named(model: Path, change_tensors: ChangeTensors) -> None:
    change_tensors(lambda weights: weights.pop("lm_head.weight"))
    with pytest.raises(PocketError, match=r"has no tensor lm_head\.weight"):
        export_text(model, model / "out.gguf", "F16")


def test_a_tensor_that_would_be_lost_is_named(model: Path, change_tensors: ChangeTensors) -> None:
    name = LAYER + "self_attn.q_proj.bias"
    change_tensors(lambda weights: weights.update({name: torch.zeros(64)}))
    with pytest.raises(PocketError, match=f"has the tensor {name}"):
        export_text(model, model / "out.gguf", "F16")


def test_a_config_of_another_size_is_named(model: Path, change_json: Change) -> None:
    change_json("config.json", lambda config: config["text_config"].update(intermediate_size=96))
    with pytest.raises(PocketError, match=r"shape \(128, 64\), config\.json says \(96, 64\)"):
        export_text(model, model / "out.gguf", "F16")
    assert not (model / "out.gguf").exists()


def narrow(weights: dict[str, torch.Tensor]) -> None:
    """Give the feed-forward layers 40 rows, which Q8_0's blocks of 32 do not divide."""
    for name, tensor in weights.items():
        if ".text_model." in name and ".mlp." in name:
            cut = tensor[:, :40] if "down_proj" in name else tensor[:40]
            weights[name] = cut.contiguous()


def test_rows_that_do_not_divide_stay_f16(
    model: Path,
    change_json: Change,
    change_tensors: ChangeTensors,
    types: Callable[[Path], dict[str, str]],
) -> None:
    change_json("config.json", lambda config: config["text_config"].update(intermediate_size=40))
    change_tensors(narrow)
    kept = export_text(model, model / "out.gguf", "Q8_0")
    assert kept == ["blk.0.ffn_down.weight", "blk.1.ffn_down.weight"]
    stored = types(model / "out.gguf")
    assert {stored[name] for name in kept} == {"F16"}
    assert stored["blk.0.ffn_up.weight"] == "Q8_0"
    assert export_text(model, model / "out.gguf", "F16") == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_checkpoints_are_converted_like_float32(
    model: Path, dtype: torch.dtype
) -> None:
    half = {k: v.to(dtype) for k, v in load_file(model / "model.safetensors").items()}
    save_file(half, model / "model.safetensors")
    export_text(model, model / "half.gguf", "Q8_0")
    save_file({k: v.float() for k, v in half.items()}, model / "model.safetensors")
    export_text(model, model / "full.gguf", "Q8_0")
    assert (model / "half.gguf").read_bytes() == (model / "full.gguf").read_bytes()


def test_both_spellings_of_the_config_give_the_same_file(model: Path) -> None:
    export_text(model, model / "five.gguf", "F16")
    config = json.loads((model / "config.json").read_text())
    text = config["text_config"]
    text["rope_theta"] = text.pop("rope_parameters")["rope_theta"]
    (model / "config.json").write_text(json.dumps(config))
    export_text(model, model / "four.gguf", "F16")
    assert (model / "five.gguf").read_bytes() == (model / "four.gguf").read_bytes()
