"""The vision file: keys, tensors, and the tower at another side than it was trained at."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers.models.smolvlm.configuration_smolvlm import SmolVLMVisionConfig
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMVisionEmbeddings

from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.export import export_vision
from pocketvlm.export.vision import position_rows

Arrays = dict[str, NDArray[Any]]
ChangeTensors = Callable[[Callable[[dict[str, torch.Tensor]], object]], None]
POSITIONS = "model.vision_model.embeddings.position_embedding.weight"


def test_the_keys_are_these(
    pristine: Path, tmp_path: Path, source: Arrays, keys: Callable[[Path], Any]
) -> None:
    export_vision(pristine, tmp_path / "out.gguf", "F16", 256)
    vision = ("model.vision_model.", "model.connector.")
    stored = {k: v.size for k, v in source.items() if k.startswith(vision)}
    parameters = sum(stored.values()) - stored[POSITIONS] * 3 // 4
    assert keys(tmp_path / "out.gguf") == {
        "GGUF.version": 3,
        "GGUF.tensor_count": 4 + 2 * 16 + 2,
        "GGUF.kv_count": 21,
        "general.architecture": "clip",
        "general.type": "mmproj",
        "general.name": "PocketVLM",
        "general.size_label": f"{parameters / 1000:.0f}K",
        "general.file_type": 1,
        "general.quantization_version": 2,
        "clip.has_vision_encoder": True,
        "clip.projector_type": "idefics3",
        "clip.use_gelu": True,
        "clip.vision.image_size": 256,
        "clip.vision.preproc_image_size": 256,
        "clip.vision.patch_size": 16,
        "clip.vision.embedding_length": 64,
        "clip.vision.feed_forward_length": 128,
        "clip.vision.block_count": 2,
        "clip.vision.attention.head_count": 1,
        "clip.vision.attention.layer_norm_epsilon": float(np.float32(1e-6)),
        "clip.vision.projection_dim": 64,
        "clip.vision.projector.scale_factor": 4,
        "clip.vision.image_mean": [0.5, 0.5, 0.5],
        "clip.vision.image_std": [0.5, 0.5, 0.5],
    }


@pytest.mark.parametrize("type", ["F32", "F16", "Q8_0"])
def test_every_tensor_arrives(
    pristine: Path,
    tmp_path: Path,
    source: Arrays,
    tensors: Callable[[Path], Arrays],
    types: Callable[[Path], dict[str, str]],
    type: str,
) -> None:
    out = tmp_path / "out.gguf"
    assert export_vision(pristine, out, type, 512) == []
    found, stored = tensors(out), types(out)
    tower, layer = "model.vision_model.", "model.vision_model.encoder.layers.1."
    exact = {
        "v.patch_embd.weight": source[tower + "embeddings.patch_embedding.weight"],
        "v.patch_embd.bias": source[tower + "embeddings.patch_embedding.bias"],
        "v.position_embd.weight": source[POSITIONS],
        "v.post_ln.weight": source[tower + "post_layernorm.weight"],
        "v.post_ln.bias": source[tower + "post_layernorm.bias"],
        "v.blk.1.ln1.weight": source[layer + "layer_norm1.weight"],
        "v.blk.1.ln2.bias": source[layer + "layer_norm2.bias"],
        "v.blk.1.attn_q.bias": source[layer + "self_attn.q_proj.bias"],
        "v.blk.1.ffn_up.bias": source[layer + "mlp.fc1.bias"],
    }
    for name, wanted in exact.items():
        assert stored[name] == "F32", name
        assert np.array_equal(found[name], wanted), name
    matrices = {
        "mm.model.fc.weight": source["model.connector.modality_projection.proj.weight"],
        "v.blk.1.attn_q.weight": source[layer + "self_attn.q_proj.weight"],
        "v.blk.1.attn_k.weight": source[layer + "self_attn.k_proj.weight"],
        "v.blk.1.attn_v.weight": source[layer + "self_attn.v_proj.weight"],
        "v.blk.1.attn_out.weight": source[layer + "self_attn.out_proj.weight"],
        "v.blk.1.ffn_up.weight": source[layer + "mlp.fc1.weight"],
        "v.blk.1.ffn_down.weight": source[layer + "mlp.fc2.weight"],
    }
    for name, wanted in matrices.items():
        assert stored[name] == type, name
        assert np.allclose(found[name], wanted, atol=4e-3 * np.abs(wanted).max()), name


@given(trained=st.sampled_from([2, 4, 8, 16, 32, 64]), patches=st.integers(1, 80))
def test_position_rows_are_those_of_transformers(trained: int, patches: int) -> None:
    config = SmolVLMVisionConfig(
        hidden_size=1, image_size=trained, patch_size=1, num_channels=1, num_attention_heads=1
    )
    module = SmolVLMVisionEmbeddings(config).eval()
    with torch.no_grad():
        for weight in module.patch_embedding.parameters():
            weight.zero_()
        module.position_embedding.weight.copy_(torch.arange(float(trained**2))[:, None])
        pixels = torch.zeros(1, 1, patches, patches)
        mask = torch.ones(1, patches, patches, dtype=torch.bool)
        theirs = module(pixel_values=pixels, patch_attention_mask=mask)
    assert position_rows(patches, trained).tolist() == theirs.flatten().long().tolist()


@pytest.mark.parametrize("side", [64, 192, 256, 384, 512])
def test_a_smaller_tower_takes_the_rows_it_uses(
    pristine: Path,
    tmp_path: Path,
    source: Arrays,
    tensors: Callable[[Path], Arrays],
    side: int,
) -> None:
    export_vision(pristine, tmp_path / "out.gguf", "Q8_0", side)
    table = tensors(tmp_path / "out.gguf")["v.position_embd.weight"]
    patches = side // 16
    assert np.array_equal(table, source[POSITIONS][position_rows(patches, 32)])
    assert np.array_equal(table[0], source[POSITIONS][0])


@pytest.mark.parametrize(("side", "near"), [(0, 64), (63, 64), (100, 128), (250, 256)])
def test_a_side_that_does_not_divide_is_refused(
    pristine: Path, tmp_path: Path, side: int, near: int
) -> None:
    with pytest.raises(ConfigError, match=rf"{side} is no multiple of 64.*: use {near}"):
        export_vision(pristine, tmp_path / "out.gguf", "F16", side)


def test_a_missing_tensor_is_named(model: Path, change_tensors: ChangeTensors) -> None:
    change_tensors(lambda weights: weights.pop(POSITIONS))
    with pytest.raises(PocketError, match=f"has no tensor {POSITIONS}"):
        export_vision(model, model / "out.gguf", "F16", 256)


def test_a_tensor_that_would_be_lost_is_named(model: Path, change_tensors: ChangeTensors) -> None:
    name = "model.connector.modality_projection.proj.bias"
    change_tensors(lambda weights: weights.update({name: torch.zeros(64)}))
    with pytest.raises(PocketError, match=f"has the tensor {name}"):
        export_vision(model, model / "out.gguf", "F16", 256)
