"""The tokenizer in GGUF's terms: byte-level BPE with SmolLM's pre-tokenizer."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gguf import GGUFWriter, SpecialVocab, TokenType

from pocketvlm.contract import END, FAKE, GRID_TILE, IMAGE, OVERVIEW
from pocketvlm.errors import PocketError
from pocketvlm.workspace import Row, read_record

NEEDED = (FAKE, GRID_TILE, OVERVIEW, IMAGE, END, "ĊĊ")
"""Tokens without which the runtime cannot lay out a picture or end an answer; the last one is two
line breaks in byte-level BPE's spelling."""


def add_vocabulary(writer: GGUFWriter, model: Path, size: int) -> None:
    """Add the `tokenizer.*` keys of `model`, `size` tokens of them.

    Beside the keys of llama.cpp's converter it names the end of the turn (`eot_token_id`): without
    it llama.cpp takes whichever known end token it meets first. PocketError when the tokenizer is
    not SmolVLM's."""
    tokenizer = _tokenizer(model)
    _check_pre_tokenizer(tokenizer, model)
    tokens, types = _tokens(tokenizer, size, model)
    settings = read_record(model / "tokenizer_config.json")
    if (prefix := settings.get("add_prefix_space")) is not None:
        writer.add_add_space_prefix(prefix)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    special = _Special(model, load_merges=True)
    inside = {kind: number for kind, number in special.special_token_ids.items() if number < size}
    end = tokens.index(END)
    special.special_token_ids = inside | {"eos": end, "eot": end}
    with _named(model / "tokenizer_config.json"):
        special.add_to_gguf(writer, quiet=True)


class _Special(SpecialVocab):  # type: ignore[misc]  # gguf names no types
    """What gguf finds of special tokens, merges and chat template; its errors name the file."""

    def _set_special_token(self, typ: str, tid: Any) -> None:
        if not isinstance(tid, int) or tid >= 0:  # -1 is transformers' older word for none
            super()._set_special_token(typ, tid)

    def _try_load_from_tokenizer_json(self, path: Path) -> None:
        with _named(path / "tokenizer.json", " or a tokenizer file beside it"):
            super()._try_load_from_tokenizer_json(path)

    def _try_load_from_config_json(self, path: Path) -> None:
        with _named(path / "config.json"):
            super()._try_load_from_config_json(path)


@contextmanager
def _named(file: Path, more: str = "") -> Iterator[None]:
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise PocketError(
            f"{file}{more} has special tokens of another form ({error}): copy the base model's "
            "over it"
        ) from None


def _tokenizer(model: Path) -> Row:
    """tokenizer.json; PocketError when it has not what is read of it here."""
    tokenizer = read_record(model / "tokenizer.json")
    inner: Any = tokenizer.get("model")
    added = tokenizer.get("added_tokens")
    try:
        rows = [(str(row["content"]), row["id"], row["special"]) for row in added or ()]
        numbers = [*inner["vocab"].values(), *(number for _, number, _ in rows)]
        known = isinstance(inner["type"], str) and isinstance(added, list) and numbers
        if not known or any(type(number) is not int or number < 0 for number in numbers):
            raise ValueError
    except (AttributeError, KeyError, TypeError, ValueError):
        raise PocketError(
            f"{model}/tokenizer.json has no vocabulary, or one of another form: copy the base "
            "model's tokenizer.json over it"
        ) from None
    return tokenizer


def _tokens(tokenizer: Row, size: int, model: Path) -> tuple[list[str], list[TokenType]]:
    """Texts and types by id; ids that the tokenizer leaves free are padding."""
    tokens = [f"[PAD{number}]" for number in range(size)]
    types = [TokenType.UNUSED] * size
    added: list[Row] = tokenizer["added_tokens"]
    highest = max([*tokenizer["model"]["vocab"].values(), *(row["id"] for row in added)])
    if highest >= size:
        raise PocketError(
            f"{model}: the tokenizer has the token {highest}, but vocab_size is {size}: use the "
            "tokenizer that belongs to the weights"
        )
    for text, number in tokenizer["model"]["vocab"].items():
        tokens[number], types[number] = text, TokenType.NORMAL
    for row in added:
        text, number = row["content"], row["id"]
        special = row["special"] or (text.startswith("<|") and text.endswith("|>"))
        tokens[number] = text
        types[number] = TokenType.CONTROL if special else TokenType.USER_DEFINED
    if missing := [text for text in NEEDED if text not in tokens]:
        raise PocketError(
            f"{model}: the tokenizer has no token {missing[0]}: use SmolVLM's tokenizer"
        )
    return tokens, types


def _check_pre_tokenizer(tokenizer: Row, model: Path) -> None:
    """llama.cpp's `smollm` splits off each digit, then splits as GPT-2 does."""
    steps = (tokenizer.get("pre_tokenizer") or {}).get("pretokenizers", [])
    if (
        tokenizer["model"]["type"] != "BPE"
        or tokenizer.get("normalizer")
        or [step["type"] for step in steps] != ["Digits", "ByteLevel"]
        or not steps[0]["individual_digits"]
        or steps[1]["add_prefix_space"]
        or not steps[1].get("use_regex", True)
    ):
        raise PocketError(
            f"{model}/tokenizer.json does not split text as SmolLM's tokenizer does (each digit "
            "alone, then byte level), so the runtime would read other tokens: copy the base "
            "model's tokenizer.json over it"
        )


def check_end(model: Path) -> None:
    """PocketError when generation_config.json does not end generation on `<end_of_utterance>`."""
    ends = read_record(model / "generation_config.json").get("eos_token_id")
    added = _tokenizer(model)["added_tokens"]
    end = next((row["id"] for row in added if row["content"] == END), None)
    if end is not None and end not in (ends if isinstance(ends, list) else [ends]):
        raise PocketError(
            f"{model}/generation_config.json: eos_token_id is {ends}, so answers would not end on "
            f"{END}: set it to {end}"
        )
