"""The sizes of a SmolVLM, read from `config.json` as transformers 4 or 5 writes it.

Missing values are transformers' defaults (LlamaConfig, SmolVLMVisionConfig, SmolVLMConfig; those of
Idefics3 are equal). transformers 5 writes `rope_parameters` where 4 wrote `rope_theta`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pocketvlm.errors import PocketError
from pocketvlm.workspace import Row, read_record

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
        width = _whole(section, "hidden_size", 4096)
        heads = _whole(section, "num_attention_heads", 32)
        return cls(
            layers=_whole(section, "num_hidden_layers", 32),
            width=width,
            feed_forward=_whole(section, "intermediate_size", 11008),
            heads=heads,
            key_value_heads=_whole(section, "num_key_value_heads", heads),
            head_width=_whole(section, "head_dim", width // heads),
            context=_whole(section, "max_position_embeddings", 2048),
            vocabulary=_whole(section, "vocab_size", 32000),
            rope_theta=_rope_theta(section),
            epsilon=_number(section, "rms_norm_eps", 1e-6),
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
            side=_whole(section, "image_size", 224),
            patch=_whole(section, "patch_size", 32),
            layers=_whole(section, "num_hidden_layers", 12),
            width=_whole(section, "hidden_size", 1152),
            feed_forward=_whole(section, "intermediate_size", 3072),
            heads=_whole(section, "num_attention_heads", 16),
            channels=_whole(section, "num_channels", 3),
            epsilon=_number(section, "layer_norm_eps", 1e-6),
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
        config = read_record(model / "config.json")
        kind = config.get("model_type")
        if kind not in SUPPORTED:
            raise PocketError(
                f"{model}: model_type is {kind!r}, but only {' and '.join(SUPPORTED)} can be "
                "converted: choose a SmolVLM or SmolVLM2 as base"
            )
        return cls(
            text=TextSizes.of(_section(config, "text_config")),
            vision=VisionSizes.of(
                _section(config, "vision_config"), _whole(config, "scale_factor", 2)
            ),
            tied=_value(config, "tie_word_embeddings", False),
        )


def _section(section: Row, key: str) -> Row:
    found = _value(section, key, {})
    if not isinstance(found, dict):
        raise PocketError(f"config.json: {key} is {found!r}: copy the base model's config.json")
    return found


def _whole(section: Row, key: str, default: int) -> int:
    found = _value(section, key, default)
    if type(found) is not int or found < 1:
        raise PocketError(
            f"config.json: {key} is {found!r}, no whole number above 0: copy the base model's "
            "config.json"
        )
    return found


def _number(section: Row, key: str, default: float) -> float:
    found = _value(section, key, default)
    if type(found) not in (int, float):
        raise PocketError(
            f"config.json: {key} is {found!r}, no number: copy the base model's config.json"
        )
    return float(found)


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
    old = _section(section, "rope_scaling")
    rope = _section(section, "rope_parameters") or old
    _expect({"rope_type": rope.get("rope_type", rope.get("type"))}, "rope_type", "default")
    return _number(rope, "rope_theta", _number(section, "rope_theta", 10000.0))
