"""The device contract: what the phone does with a picture, a prompt and an answer.

Every stage asks it; nothing else may prepare a picture or spell a prompt. How the runtime lays a
picture out between the prompt's tokens is not written here: the runtime is asked (layout.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from pocketvlm.config import Config
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.pictures import RESIZERS, Bitmap, open_image, size_of
from pocketvlm.sections import MARKER
from pocketvlm.workspace import Row, sha256_json

Encode = Callable[[str], list[int]]
"""Text to token ids: special tokens parsed, none added."""

IMAGE = "<image>"
FAKE = "<fake_token_around_image>"
GRID_TILE = "<row_1_col_1>"
OVERVIEW = "<global-img>"
END = "<end_of_utterance>"
"""SmolVLM's special tokens (its tokenizer.json)."""

STOPS = (END, "<|im_end|>", "<|endoftext|>", "<reponame>")
"""Tokens at which llama.cpp ends generation in SmolVLM's vocabulary: the end token of the file, and
others that it knows by their text (llama-vocab.cpp, special_eog_ids)."""

GGUF_KEY = "pocketvlm.contract"
"""Under it every GGUF file names the hash of the contract that it was made under."""

SINGLE = (FAKE + OVERVIEW, FAKE)
"""With `device.tiles: single` the app writes these round the overview's embeddings, as SmolVLM's
own processor does round a picture of one tile (transformers, processing_smolvlm.py)."""


@dataclass(frozen=True)
class Contract:
    """What the app does: the bitmap it hands over, the prompt it spells, the answer it reads."""

    side: int
    resize: str
    exif: bool
    """Whether pictures are turned by their EXIF orientation."""
    tiles: str
    """`runtime` or `single`: which of the runtime's tiles are evaluated."""
    prompt: str
    max_new_tokens: int
    labels: tuple[str, ...]

    @classmethod
    def of(cls, config: Config) -> "Contract":
        """The contract of a project; ConfigError when question and prompt do not fit."""
        prompt = config.device.prompt.replace("{marker}", MARKER)
        prompt = prompt.replace("{question}", config.task.question)
        if IMAGE in prompt:
            raise ConfigError(
                f"device.prompt or task.question holds {IMAGE}, which the runtime writes: remove it"
            )
        if prompt != prompt.rstrip():
            raise ConfigError("task.question: it ends the prompt in white space: remove it")
        return cls(
            side=config.device.side,
            resize=config.device.resize,
            exif=config.device.exif,
            tiles=config.device.tiles,
            prompt=prompt,
            max_new_tokens=config.device.max_new_tokens,
            labels=tuple(config.task.labels),
        )

    @classmethod
    def read(cls, record: Row) -> Self:
        """The contract of a contract.json; PocketError when its hash is of something else."""
        known = {field.name: record.get(field.name) for field in fields(cls)}
        if isinstance(known["labels"], list):
            contract = cls(**known | {"labels": tuple(known["labels"])})
            if contract.hash == record.get("hash"):
                return contract
        raise PocketError(
            "contract.json is damaged, or of another version of pocketvlm: make the bundle again"
        )

    def open(self, path: Path) -> Bitmap:
        """A picture file as the device's bitmap; PocketError when it cannot be read."""
        return self.bitmap(open_image(path, self.exif))

    def bitmap(self, picture: Image.Image | Bitmap) -> Bitmap:
        """Fit into the square, centred on black: uint8 (side, side, 3).

        Sizes and offsets are the app's integer arithmetic: the longer side becomes `side`, the
        shorter one is truncated, an odd rest goes to the right and to the bottom."""
        width, height = size_of(picture)
        longer = max(width, height)
        new_width = max(1, width * self.side // longer)
        new_height = max(1, height * self.side // longer)
        canvas = np.zeros((self.side, self.side, 3), np.uint8)
        top, left = (self.side - new_height) // 2, (self.side - new_width) // 2
        inside = RESIZERS[self.resize](picture, new_width, new_height)
        canvas[top : top + new_height, left : left + new_width] = inside
        return canvas

    def answer(self, label: str) -> str:
        """What the student is taught to say after the prompt."""
        return f" {label}{END}"

    def label_of(self, text: str) -> str | None:
        """The label a generated text means, or None: the stripped text must equal it."""
        word = text.strip()
        return word if word in self.labels else None

    def check_answers(self, encode: Encode) -> None:
        """ConfigError when an answer's tokens depend on the prompt, or answers cannot be told
        apart because one's tokens begin with another's."""
        after = self.prompt.split(MARKER)[1]
        tokens = {label: tuple(encode(f" {label}")) for label in self.labels}
        for label, ids in tokens.items():
            if encode(after + self.answer(label)) != encode(after) + encode(self.answer(label)):
                raise ConfigError(
                    f"task.labels: {label!r} is tokenised otherwise after the prompt than alone: "
                    "end device.prompt in a letter or a colon, or choose another label"
                )
            for other, longer in tokens.items():
                if other != label and longer[: len(ids)] == ids:
                    raise ConfigError(
                        f"task.labels: the tokens of {other!r} begin with those of {label!r}: "
                        "rename one of them"
                    )
            if len(ids) + 1 > self.max_new_tokens:
                raise ConfigError(
                    f"device.max_new_tokens: {label!r} needs {len(ids) + 1} tokens with its end "
                    f"token, the app stops after {self.max_new_tokens}: choose a shorter label"
                )

    def describe(self) -> dict[str, Any]:
        """The contract as plain data, with its own hash."""
        plain = {
            "side": self.side,
            "vision_size": self.side,
            "resize": self.resize,
            "exif": self.exif,
            "tiles": self.tiles,
            "padding": "black, centred, odd pixel right and bottom",
            "marker": MARKER,
            "prompt": self.prompt,
            "max_new_tokens": self.max_new_tokens,
            "sampling": "greedy",
            "labels": list(self.labels),
            "end": END,
        }
        return {**plain, "hash": sha256_json(plain)}

    @property
    def hash(self) -> str:
        """Names the contract: every artefact made under it records this."""
        return str(self.describe()["hash"])
