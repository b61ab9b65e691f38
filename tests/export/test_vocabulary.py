"""The tokenizer in the text file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gguf import TokenType
from tokenizers import Tokenizer

from pocketvlm.contract import END, IMAGE
from pocketvlm.errors import PocketError
from pocketvlm.export import export_text

Keys = Callable[[Path], dict[str, Any]]
Change = Callable[[str, Callable[[dict[str, Any]], object]], None]


@pytest.fixture(scope="module")
def written(pristine: Path, tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("out") / "model.gguf"
    export_text(pristine, out, "F16")
    return keys(out)


def test_every_token_has_its_id(pristine: Path, written: dict[str, Any]) -> None:
    tokenizer = Tokenizer.from_file(str(pristine / "tokenizer.json"))
    tokens, types = written["tokenizer.ggml.tokens"], written["tokenizer.ggml.token_type"]
    known = tokenizer.get_vocab_size()
    assert tokens[:known] == [tokenizer.id_to_token(number) for number in range(known)]
    assert len(tokens) == written["llama.vocab_size"] > known
    assert set(types[known:]) == {TokenType.UNUSED}
    assert types[tokenizer.token_to_id(IMAGE)] == TokenType.CONTROL
    assert types[tokenizer.token_to_id("Ġwater")] == TokenType.NORMAL


def test_merges_keep_their_order(pristine: Path, written: dict[str, Any]) -> None:
    merges = json.loads((pristine / "tokenizer.json").read_text())["model"]["merges"]
    assert written["tokenizer.ggml.merges"] == [" ".join(pair) for pair in merges]
    assert (written["tokenizer.ggml.model"], written["tokenizer.ggml.pre"]) == ("gpt2", "smollm")


def test_generation_ends_on_the_end_of_the_utterance(
    pristine: Path, written: dict[str, Any]
) -> None:
    end = Tokenizer.from_file(str(pristine / "tokenizer.json")).token_to_id(END)
    assert written["tokenizer.ggml.eos_token_id"] == end
    assert written["tokenizer.ggml.eot_token_id"] == end


def test_another_end_in_the_tokenizer_does_not_count(
    model: Path, change_json: Change, keys: Keys, written: dict[str, Any]
) -> None:
    """SmolVLM's special_tokens_map.json names <|im_end|>; generation_config.json is right."""
    change_json("tokenizer_config.json", lambda value: value.update(eos_token="<|im_end|>"))
    export_text(model, model / "out.gguf", "F16")
    end = "tokenizer.ggml.eos_token_id"
    assert keys(model / "out.gguf")[end] == written[end]


def test_an_end_among_several_is_enough(model: Path, change_json: Change, keys: Keys) -> None:
    change_json("generation_config.json", lambda v: v.update(eos_token_id=[2, v["eos_token_id"]]))
    export_text(model, model / "out.gguf", "F16")
    tokens = keys(model / "out.gguf")
    assert tokens["tokenizer.ggml.tokens"][tokens["tokenizer.ggml.eos_token_id"]] == END


def test_ids_beyond_the_vocabulary_are_left_out(
    model: Path, change_json: Change, keys: Keys
) -> None:
    """SmolVLM2's config.json has pad_token_id 128002."""
    change_json("tokenizer_config.json", lambda value: value.pop("pad_token"))
    change_json("config.json", lambda value: value.update(pad_token_id=128002))
    export_text(model, model / "out.gguf", "F16")
    assert "tokenizer.ggml.padding_token_id" not in keys(model / "out.gguf")


@pytest.mark.parametrize("kind", ["pad", "bos", "eos"])
def test_ids_below_zero_are_none(
    model: Path, change_json: Change, keys: Keys, written: dict[str, Any], kind: str
) -> None:
    """transformers 4 wrote -1 for a token that there is none of."""
    change_json("tokenizer_config.json", lambda value: value.pop(f"{kind}_token", None))
    change_json("config.json", lambda value: value.pop(f"{kind}_token_id", None))
    change_json("config.json", lambda value: value["text_config"].update({f"{kind}_token_id": -1}))
    export_text(model, model / "out.gguf", "F16")
    name = {"pad": "padding"}.get(kind, kind)
    found = keys(model / "out.gguf").get(f"tokenizer.ggml.{name}_token_id")
    assert found == (written["tokenizer.ggml.eos_token_id"] if kind == "eos" else None)


@pytest.mark.parametrize(
    ("file", "how"),
    [
        ("config.json", lambda v: v.update(text_config=None)),
        ("tokenizer.json", lambda v: v["model"].update(merges=[[1, 2]])),
        ("tokenizer.json", lambda v: v.update(post_processor=7)),
        ("tokenizer_config.json", lambda v: v.update(chat_template=[7])),
    ],
)
def test_special_tokens_of_another_form_name_their_file(
    model: Path, change_json: Change, file: str, how: Callable[[Any], object]
) -> None:
    change_json(file, how)
    with pytest.raises(PocketError, match=f"{model / file}.* has special tokens of another form"):
        export_text(model, model / "out.gguf", "F16")


def without_digits(tokenizer: dict[str, Any]) -> None:
    tokenizer["pre_tokenizer"] = tokenizer["pre_tokenizer"]["pretokenizers"][1]


def without_image(tokenizer: dict[str, Any]) -> None:
    for row in tokenizer["added_tokens"]:
        if row["content"] == IMAGE:
            row["content"] = "<picture>"


@pytest.mark.parametrize(
    ("file", "how", "message"),
    [
        ("tokenizer.json", without_digits, "does not split text as SmolLM's tokenizer does"),
        ("tokenizer.json", lambda v: v.update(normalizer={"type": "NFC"}), "does not split text"),
        ("tokenizer.json", without_image, "the tokenizer has no token <image>"),
        ("generation_config.json", lambda v: v.update(eos_token_id=2), "eos_token_id is 2, so"),
        ("generation_config.json", lambda v: v.pop("eos_token_id"), "eos_token_id is None, so"),
        ("config.json", lambda v: v["text_config"].update(vocab_size=99), "vocab_size is 99: use"),
    ],
)
def test_a_wrong_tokenizer_is_refused(
    model: Path, change_json: Change, file: str, how: Callable[[Any], object], message: str
) -> None:
    change_json(file, how)
    with pytest.raises(PocketError, match=message):
        export_text(model, model / "out.gguf", "F16")


@pytest.mark.parametrize(
    "file", ["tokenizer.json", "tokenizer_config.json", "generation_config.json"]
)
def test_a_missing_file_is_named(model: Path, file: str) -> None:
    (model / file).unlink()
    with pytest.raises(PocketError, match=f"{file} does not exist"):
        export_text(model, model / "out.gguf", "F16")
