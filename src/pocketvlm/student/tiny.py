"""Tiny students of the true SmolVLM architecture: the embedded default's base, and the tests'.

Only the widths and the vocabulary are small. The tokenizer is byte-level with SmolLM's
pre-tokenizer and SmolVLM's special tokens, so that llama.cpp treats it as it treats the real one.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)

from pocketvlm.contract import END, FAKE, IMAGE, OVERVIEW

WIDTHS: dict[str, dict[str, Any]] = {
    "demo": {
        "vision": {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 5},
        "text": {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4},
    },
    "test": {
        "vision": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2},
        "text": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2},
    },
}
"""Sizes that train on a laptop's processor: about 2.4 and 0.3 million parameters."""


def tiny_tokenizer(words: Iterable[str], vocabulary: int = 640) -> PreTrainedTokenizerFast:
    """Byte-level BPE that knows each of `words` after a space, and a double line break, as one
    token; SmolVLM's special tokens follow."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        show_progress=False,
    )
    lines = [f" {word}" for word in sorted(set(words))] * 50 + ["\n\n"] * 2000
    tokenizer.train_from_iterator(lines, trainer)
    grid = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    special = [OVERVIEW, *grid, FAKE, IMAGE, END]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token="<|im_end|>", bos_token=None
    )


def tiny_model(
    tokenizer: PreTrainedTokenizerFast, size: str, side: int = 256, seed: int = 0
) -> SmolVLMForConditionalGeneration:
    """Random float32 weights with patch 16 and scale factor 4, as SmolVLM-500M has them."""
    widths = WIDTHS[size]
    end = tokenizer.convert_tokens_to_ids(END)
    pad = tokenizer.pad_token_id
    vocabulary = -(-len(tokenizer) // 32) * 32
    text = widths["text"] | {
        "model_type": "llama",
        "architectures": ["VLlama3ForCausalLM"],
        "num_attention_heads": widths["text"]["hidden_size"] // 32,
        "num_key_value_heads": widths["text"]["hidden_size"] // 64,
        "head_dim": 32,
        "max_position_embeddings": 2048,
        "rope_theta": 100000.0,
        "rms_norm_eps": 1e-5,
        "vocab_size": vocabulary,
        "pad_token_id": pad,
        "bos_token_id": None,
        "eos_token_id": end,
    }
    vision = widths["vision"] | {
        "model_type": "smolvlm_vision",
        "num_attention_heads": widths["vision"]["hidden_size"] // 64,
        "image_size": side,
        "patch_size": 16,
    }
    config = SmolVLMConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        scale_factor=4,
        pad_token_id=pad,
        tie_word_embeddings=False,
    )
    torch.manual_seed(seed)
    model = SmolVLMForConditionalGeneration(config).eval()
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=pad, bos_token_id=0)
    return model


def save_tiny(
    folder: Path, seed: int = 0, words: Iterable[str] = (), size: str = "test", side: int = 256
) -> None:
    """Write a random tiny student as a hub folder: config, safetensors, tokenizer."""
    tokenizer = tiny_tokenizer(words)
    tiny_model(tokenizer, size, side, seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
