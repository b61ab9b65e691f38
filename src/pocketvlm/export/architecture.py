"""The sizes of a SmolVLM, read from `config.json` as transformers 4 or 5 writes it.

Missing values are transformers' defaults (LlamaConfig, SmolVLMVisionConfig, SmolVLMConfig; those of
Idefics3 are equal). transformers 5 writes `rope_parameters` where 4 wrote `rope_theta`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pocketvlm.errors import PocketError
from pocketvlm.workspace import Row, read_json

SUPPORTED = ("idefics3", "smolvlm")
"""`model_type` of SmolVLM and of SmolVLM2."""


@dataclass(frozen=True)
class TextSizes:
    """The language model: a Llama."""

    layers: int
    width: int
    feed_forward: int
    heads: int
    key_value_heads: int
    head_width: int
    context: int
    vocabulary: int
    rope_theta: float
    epsilon: float

    @classmethod
    def of(cls, section: Row) -> Self:
        """From `text_config`; PocketError for what the writer does not know."""
        _expect(section, "model_type", "llama")
        _expect(section, "hidden_act", "silu")
        width = _value(section, "hidden_size", 4096)
        heads = _value(section, "num_attention_heads", 32)
        return cls(
            layers=_value(section, "num_hidden_layers", 32),
            width=width,
            feed_forward=_value(section, "intermediate_size", 11008),
            heads=heads,
            key_value_heads=_value(section, "num_key_value_heads", heads),
            head_width=_value(section, "head_dim", width // heads),
            context=_value(section, "max_position_embeddings", 2048),
            vocabulary=_value(section, "vocab_size", 32000),
            rope_theta=_rope_theta(section),
            epsilon=_value(section, "rms_norm_eps", 1e-6),
        )


@dataclass(frozen=True)
class VisionSizes:
    """The vision tower, a SigLIP, and the projector behind it."""

    side: int
    patch: int
    layers: int
    width: int
    feed_forward: int
    heads: int
    channels: int
    epsilon: float
    scale: int

    @classmethod
    def of(cls, section: Row, scale: int) -> Self:
        """From `vision_config` and the projector's `scale_factor`."""
        _expect(section, "hidden_act", "gelu_pytorch_tanh")
        return cls(
            side=_value(section, "image_size", 224),
            patch=_value(section, "patch_size", 32),
            layers=_value(section, "num_hidden_layers", 12),
            width=_value(section, "hidden_size", 1152),
            feed_forward=_value(section, "intermediate_size", 3072),
            heads=_value(section, "num_attention_heads", 16),
            channels=_value(section, "num_channels", 3),
            epsilon=_value(section, "layer_norm_eps", 1e-6),
            scale=scale,
        )


@dataclass(frozen=True)
class Architecture:
    """Both halves; `tied` means that the output matrix is the embedding matrix."""

    text: TextSizes
    vision: VisionSizes
    tied: bool

    @classmethod
    def read(cls, model: Path) -> Self:
        """From `model`/config.json; PocketError for another kind of model."""
        config = read_json(model / "config.json")
        kind = config.get("model_type")
        if kind not in SUPPORTED:
            raise PocketError(
                f"{model}: model_type is {kind!r}, but only {' and '.join(SUPPORTED)} can be "
                "converted: choose a SmolVLM or SmolVLM2 as base"
            )
        return cls(
            text=TextSizes.of(config.get("text_config") or {}),
            vision=VisionSizes.of(
                config.get("vision_config") or {}, _value(config, "scale_factor", 2)
            ),
            tied=_value(config, "tie_word_embeddings", False),
        )


def _value(section: Row, key: str, default: Any) -> Any:
    found = section.get(key)
    return default if found is None else found


def _expect(section: Row, key: str, known: str) -> None:
    found = _value(section, key, known)
    if found != known:
        raise PocketError(
            f"config.json: {key} is {found!r}, the runtime's SmolVLM has {known!r}: "
            "choose a SmolVLM or SmolVLM2 as base"
        )


def _rope_theta(section: Row) -> float:
    rope: Row = _value(section, "rope_parameters", _value(section, "rope_scaling", {}))
    _expect({"rope_type": rope.get("rope_type", rope.get("type"))}, "rope_type", "default")
    return float(_value(rope, "rope_theta", _value(section, "rope_theta", 10000.0)))
