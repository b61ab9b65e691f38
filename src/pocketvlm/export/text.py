"""The language model's file: keys and tensors of llama.cpp's `llama` architecture."""

from functools import partial
from pathlib import Path

from gguf import GGUFType, GGUFWriter

from pocketvlm.export.about import About
from pocketvlm.export.architecture import Architecture, TextSizes
from pocketvlm.export.checkpoint import Checkpoint, Floats
from pocketvlm.export.vocabulary import add_vocabulary, check_end
from pocketvlm.export.writer import Draft, Tensor, draft

PREFIX = "model.text_model."
HEAD = "lm_head.weight"


def export_text(model: Path, out: Path, type: str, contract: str = "") -> list[str]:
    """Write the language model of the folder `model` to `out` as F32, F16 or Q8_0, naming the hash
    of the contract it was made under.

    Returns the tensors whose rows do not divide into Q8_0's blocks and stay F16. PocketError when
    the folder is incomplete or of another architecture."""
    return draft_text(model, type, About(contract)).write(out)


def draft_text(model: Path, type: str, about: About) -> Draft:
    """The same, ready to be written."""
    architecture, checkpoint = Architecture.read(model), Checkpoint.open(model)
    check_end(model)
    return draft_text_of(model, architecture, checkpoint, type, about)


def draft_text_of(
    model: Path, architecture: Architecture, checkpoint: Checkpoint, type: str, about: About
) -> Draft:
    """The same for sizes and weights that are given; `model` has the tokenizer."""
    tensors = text_tensors(architecture.text)
    if not architecture.tied or HEAD in checkpoint.tensors:
        tensors.append(Tensor("output.weight", HEAD, _embedding_shape(architecture.text)))
    writer = GGUFWriter(None, "llama")
    writer.add_type(GGUFType.MODEL)
    _add_sizes(writer, architecture.text)
    add_vocabulary(writer, model, architecture.text.vocabulary)
    return draft(writer, tensors, checkpoint, (PREFIX,), type, about)


def _add_sizes(writer: GGUFWriter, text: TextSizes) -> None:
    writer.add_block_count(text.layers)
    writer.add_context_length(text.context)
    writer.add_embedding_length(text.width)
    writer.add_feed_forward_length(text.feed_forward)
    writer.add_head_count(text.heads)
    writer.add_head_count_kv(text.key_value_heads)
    writer.add_rope_freq_base(text.rope_theta)
    writer.add_layer_norm_rms_eps(text.epsilon)
    writer.add_key_length(text.head_width)
    writer.add_value_length(text.head_width)
    writer.add_vocab_size(text.vocabulary)
    writer.add_rope_dimension_count(text.head_width)


def text_tensors(text: TextSizes) -> list[Tensor]:
    """All tensors but an output matrix of its own."""
    tensors = [
        Tensor("token_embd.weight", PREFIX + "embed_tokens.weight", _embedding_shape(text)),
        Tensor("output_norm.weight", PREFIX + "norm.weight", (text.width,)),
    ]
    for layer in range(text.layers):
        tensors += _layer(text, layer)
    return tensors


def _layer(text: TextSizes, layer: int) -> list[Tensor]:
    width, inner = text.width, text.feed_forward
    queries, keys = text.heads * text.head_width, text.key_value_heads * text.head_width

    def tensor(name: str, source: str, *shape: int, turned: bool = False) -> Tensor:
        name, source = f"blk.{layer}.{name}.weight", f"{PREFIX}layers.{layer}.{source}.weight"
        if not turned:
            return Tensor(name, source, shape)
        change = partial(interleave, width=text.head_width)
        return Tensor(name, source, shape, change, together=text.head_width)

    return [
        tensor("attn_norm", "input_layernorm", width),
        tensor("attn_q", "self_attn.q_proj", queries, width, turned=True),
        tensor("attn_k", "self_attn.k_proj", keys, width, turned=True),
        tensor("attn_v", "self_attn.v_proj", keys, width),
        tensor("attn_output", "self_attn.o_proj", width, queries),
        tensor("ffn_norm", "post_attention_layernorm", width),
        tensor("ffn_gate", "mlp.gate_proj", inner, width),
        tensor("ffn_up", "mlp.up_proj", inner, width),
        tensor("ffn_down", "mlp.down_proj", width, inner),
    ]


def interleave(rows: Floats, width: int) -> Floats:
    """Order the rows of some heads of a query or key matrix, `width` rows each, as llama.cpp
    rotates.

    transformers rotates row i of a head with row i + half, llama.cpp rows 2i and 2i + 1
    (conversion/llama.py `permute`)."""
    halves = rows.reshape(-1, 2, width // 2, rows.shape[1])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def _embedding_shape(text: TextSizes) -> tuple[int, int]:
    return text.vocabulary, text.width
