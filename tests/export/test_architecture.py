"""config.json, as transformers 4 and 5 write it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from pocketvlm.errors import PocketError
from pocketvlm.export.architecture import Architecture

Change = Callable[[str, Callable[[dict[str, Any]], object]], None]


def written(folder: Path, config: dict[str, Any]) -> Architecture:
    (folder / "config.json").write_text(json.dumps(config))
    return Architecture.read(folder)


@pytest.mark.parametrize("kind", ["idefics3", "smolvlm"])
@pytest.mark.parametrize(
    "text",
    [
        {},
        {"hidden_size": 64, "num_attention_heads": 2, "rope_theta": 123.0},
        {"rope_parameters": {"rope_theta": 321.0, "rope_type": "default"}, "head_dim": 48},
        {"rope_theta": 7.0, "rope_scaling": None, "head_dim": None, "num_key_value_heads": 4},
    ],
)
def test_sizes_and_defaults_are_those_of_transformers(
    tmp_path: Path, kind: str, text: dict[str, Any]
) -> None:
    config = {"model_type": kind, "text_config": {"model_type": "llama"} | text}
    ours = written(tmp_path, config | {"vision_config": {"num_attention_heads": 12}})
    theirs = AutoConfig.from_pretrained(tmp_path)
    t, v = theirs.text_config, theirs.vision_config
    assert ours.text.width == t.hidden_size
    assert ours.text.layers == t.num_hidden_layers
    assert ours.text.feed_forward == t.intermediate_size
    assert (ours.text.heads, ours.text.key_value_heads) == (
        t.num_attention_heads,
        t.num_key_value_heads,
    )
    assert (ours.text.head_width, ours.text.context) == (t.head_dim, t.max_position_embeddings)
    assert (ours.text.vocabulary, ours.text.epsilon) == (t.vocab_size, t.rms_norm_eps)
    assert ours.text.rope_theta == t.rope_parameters["rope_theta"]
    assert (ours.vision.side, ours.vision.patch) == (v.image_size, v.patch_size)
    assert (ours.vision.width, ours.vision.feed_forward) == (v.hidden_size, v.intermediate_size)
    assert (ours.vision.layers, ours.vision.heads) == (v.num_hidden_layers, 12)
    assert (ours.vision.channels, ours.vision.epsilon) == (v.num_channels, v.layer_norm_eps)
    assert (ours.vision.scale, ours.tied) == (theirs.scale_factor, theirs.tie_word_embeddings)


def test_another_model_type_is_named(tmp_path: Path) -> None:
    with pytest.raises(PocketError, match="model_type is 'llava', but only idefics3 and smolvlm"):
        written(tmp_path, {"model_type": "llava"})


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type is 'linear'"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type is 'yarn'"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"model_type": "mistral"}, "model_type is 'mistral'"),
    ],
)
def test_what_the_writer_does_not_know_is_refused(
    tmp_path: Path, section: dict[str, Any], value: str
) -> None:
    with pytest.raises(PocketError, match=value):
        written(tmp_path, {"model_type": "smolvlm", "text_config": section})


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(PocketError, match=r"config\.json does not exist"):
        Architecture.read(tmp_path)


def test_the_true_model_is_read(pristine: Path, model: Path, change_json: Change) -> None:
    change_json("config.json", as_transformers_4)
    assert Architecture.read(model) == Architecture.read(pristine)


def as_transformers_4(config: dict[str, Any]) -> None:
    text = config["text_config"]
    text["rope_theta"] = text.pop("rope_parameters")["rope_theta"]
    text["rope_scaling"] = None
    for key in ("attention_bias", "mlp_bias", "hidden_act"):
        del text[key]
    for key in ("layer_norm_eps", "num_channels", "hidden_act"):
        del config["vision_config"][key]
