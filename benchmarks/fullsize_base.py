"""A base of SmolVLM's full size with random weights, made where no hub can be reached."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, GenerationConfig

from pocketvlm.base import encoder, load_tokenizer
from pocketvlm.config import parse_config
from pocketvlm.contract import END, IMAGE
from pocketvlm.progress import say
from pocketvlm.student.tiny import tiny_tokenizer

TEXT: dict[str, dict[str, int]] = {
    "500M": {
        "hidden_size": 960,
        "intermediate_size": 2560,
        "num_hidden_layers": 32,
        "num_attention_heads": 15,
        "num_key_value_heads": 5,
    },
    "256M": {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
    },
}
"""The text models' sizes; the tower is the same in both."""


def dimensions(size: str) -> dict[str, Any]:
    """SmolVLM's configuration at one size of `TEXT`."""
    text = TEXT[size] | {
        "model_type": "llama",
        "head_dim": 64,
        "rope_theta": 100000.0,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 8192,
        "vocab_size": 49280,
        "pad_token_id": 2,
    }
    vision = {
        "model_type": "smolvlm_vision",
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": 512,
        "patch_size": 16,
    }
    return {
        "model_type": "smolvlm",
        "scale_factor": 4,
        "tie_word_embeddings": False,
        "text_config": text,
        "vision_config": vision,
    }


def build_base(source: Path | None, out: Path, size: str = "500M") -> None:
    """A hub folder with random bfloat16 weights: of the configuration in the folder `source`, whose
    tokenizer lies there or one folder above, or of a built-in size with a small tokenizer."""
    out.mkdir(parents=True)
    if source is None:
        task = parse_config({}).task
        tokenizer = tiny_tokenizer([*task.labels, *task.question.split()])
        tokenizer.save_pretrained(out)
        image = tokenizer.convert_tokens_to_ids(IMAGE)
        config = dimensions(size) | {"image_token_id": image}
        (out / "config.json").write_text(json.dumps(config))
    else:
        shutil.copyfile(source / "config.json", out / "config.json")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            found = next(p / name for p in (source, source.parent) if (p / name).is_file())
            shutil.copyfile(found, out / name)
    _write_weights(out)


def _write_weights(out: Path) -> None:
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(out)
    model = AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
    end = encoder(load_tokenizer(out))(END)[0]
    model.generation_config = GenerationConfig(bos_token_id=0, eos_token_id=end, pad_token_id=2)
    model.save_pretrained(out)
    millions = sum(value.numel() for value in model.parameters()) / 1e6
    say(f"{config.model_type}: {millions:.2f} M parameters")
