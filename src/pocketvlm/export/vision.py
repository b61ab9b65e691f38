"""The vision file (llama.cpp's mmproj): tower and projector, at any side the tower can run at."""

from functools import partial
from pathlib import Path

import numpy as np
from gguf import GGUFType, GGUFWriter, VisionProjectorType
from numpy.typing import NDArray

from pocketvlm.errors import ConfigError
from pocketvlm.export.about import About
from pocketvlm.export.architecture import Architecture, VisionSizes
from pocketvlm.export.checkpoint import Checkpoint, Floats
from pocketvlm.export.writer import Draft, Tensor, draft

PREFIX = "model.vision_model."
PROJECTOR = "model.connector.modality_projection.proj.weight"

MEAN = STANDARD_DEVIATION = [0.5, 0.5, 0.5]
"""SmolVLM's preprocessor_config.json; the student is trained on the same."""


def export_vision(
    model: Path, out: Path, type: str, vision_size: int, contract: str = ""
) -> list[str]:
    """Write tower and projector of the folder `model` to `out` as F32, F16 or Q8_0, for pictures of
    `vision_size` pixels a side, naming the hash of the contract it was made under.

    Returns the tensors whose rows do not divide into Q8_0's blocks and stay F16. ConfigError when
    the side does not divide into patches and the projector's squares of them; PocketError when the
    folder is incomplete or of another architecture."""
    return draft_vision(model, type, vision_size, About(contract)).write(out)


def draft_vision(model: Path, type: str, vision_size: int, about: About) -> Draft:
    """The same, ready to be written."""
    return draft_vision_of(
        Architecture.read(model), Checkpoint.open(model), type, vision_size, about
    )


def draft_vision_of(
    architecture: Architecture, checkpoint: Checkpoint, type: str, vision_size: int, about: About
) -> Draft:
    """The same for sizes and weights that are given."""
    vision = architecture.vision
    step = vision.patch * vision.scale
    if vision_size < step or vision_size % step:
        near = max(step, round(vision_size / step) * step)
        raise ConfigError(
            f"device.side: {vision_size} is no multiple of {step}, this model's patch size x scale "
            f"factor: use {near}"
        )
    tensors = vision_tensors(vision, architecture.text.width, vision_size)
    writer = GGUFWriter(None, "clip")
    writer.add_type(GGUFType.MMPROJ)
    _add_sizes(writer, architecture, vision_size)
    prefixes = (PREFIX, "model.connector.")
    return draft(writer, tensors, checkpoint, prefixes, type, about)


def _add_sizes(writer: GGUFWriter, architecture: Architecture, vision_size: int) -> None:
    vision = architecture.vision
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type(VisionProjectorType.IDEFICS3)
    writer.add_vision_projection_dim(architecture.text.width)
    writer.add_vision_projector_scale_factor(vision.scale)
    writer.add_vision_image_size(vision_size)
    writer.add_vision_preproc_image_size(vision_size)
    writer.add_vision_patch_size(vision.patch)
    writer.add_vision_embedding_length(vision.width)
    writer.add_vision_feed_forward_length(vision.feed_forward)
    writer.add_vision_block_count(vision.layers)
    writer.add_vision_head_count(vision.heads)
    writer.add_vision_attention_layernorm_eps(vision.epsilon)
    writer.add_vision_use_gelu(True)
    writer.add_vision_image_mean(MEAN)
    writer.add_vision_image_std(STANDARD_DEVIATION)


def vision_tensors(vision: VisionSizes, text_width: int, vision_size: int) -> list[Tensor]:
    """All tensors of a tower of `vision_size`, and the projector's."""
    width, patch = vision.width, vision.patch
    rows = position_rows(vision_size // patch, vision.side // patch)
    embeddings = PREFIX + "embeddings."
    tensors = [
        Tensor("mm.model.fc.weight", PROJECTOR, (text_width, width * vision.scale**2)),
        Tensor(
            "v.patch_embd.weight",
            embeddings + "patch_embedding.weight",
            (width, vision.channels, patch, patch),
        ),
        Tensor("v.patch_embd.bias", embeddings + "patch_embedding.bias", (width,)),
        Tensor(
            "v.position_embd.weight",
            embeddings + "position_embedding.weight",
            (len(rows), width),
            partial(_take, rows=rows),
            source_shape=((vision.side // patch) ** 2, width),
        ),
    ]
    for layer in range(vision.layers):
        tensors += _layer(vision, layer)
    return tensors + _with_bias("v.post_ln", PREFIX + "post_layernorm", width)


def _layer(vision: VisionSizes, layer: int) -> list[Tensor]:
    width, inner = vision.width, vision.feed_forward
    parts = [
        ("ln1", "layer_norm1", (width,)),
        ("attn_q", "self_attn.q_proj", (width, width)),
        ("attn_k", "self_attn.k_proj", (width, width)),
        ("attn_v", "self_attn.v_proj", (width, width)),
        ("attn_out", "self_attn.out_proj", (width, width)),
        ("ln2", "layer_norm2", (width,)),
        ("ffn_up", "mlp.fc1", (inner, width)),
        ("ffn_down", "mlp.fc2", (width, inner)),
    ]
    tensors: list[Tensor] = []
    for name, source, shape in parts:
        source = f"{PREFIX}encoder.layers.{layer}.{source}"
        tensors += _with_bias(f"v.blk.{layer}.{name}", source, *shape)
    return tensors


def _with_bias(name: str, source: str, *shape: int) -> list[Tensor]:
    return [
        Tensor(f"{name}.weight", f"{source}.weight", shape),
        Tensor(f"{name}.bias", f"{source}.bias", shape[:1]),
    ]


def position_rows(patches: int, trained: int) -> NDArray[np.intp]:
    """Which rows of the position embeddings a tower of `patches` a side uses, row by row.

    `trained` is the checkpoint's number a side. transformers finds the bucket of each patch's
    fractional coordinate in float32 (modeling_smolvlm.py `SmolVLMVisionEmbeddings.forward`). For a
    power of two, as in every SmolVLM up to 500M, the boundaries are exact; for other numbers their
    last bit in torch depends on the processor, here they are rounded correctly."""
    boundaries = np.arange(1 / trained, 1.0, 1 / trained).astype(np.float32)
    step = np.float32(1) / np.float32(patches)
    coordinates = np.minimum(np.arange(patches, dtype=np.float32) * step, np.float32(1 - 1e-6))
    buckets = np.searchsorted(boundaries, coordinates, side="right")
    rows: NDArray[np.intp] = (buckets[:, None] * trained + buckets[None, :]).reshape(-1)
    return rows


def _take(table: Floats, rows: NDArray[np.intp]) -> Floats:
    return table[rows]
