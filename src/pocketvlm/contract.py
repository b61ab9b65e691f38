"""The device contract: what the phone does with a picture, a prompt and an answer.

Every stage asks it; nothing else may prepare a picture or spell a prompt. The layout is that of
llama.cpp's mtmd for a picture of exactly one tile's side (tools/mtmd/mtmd.cpp, idefics3 branch):
a 1x1 grid, then the overview, each holding the same pixels.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pocketvlm.config import MARKER, Config
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.workspace import sha256_json

Bitmap = NDArray[np.uint8]
"""RGB pixels, shape (side, side, 3)."""

Taps = NDArray[np.intp]
"""Indices of source pixels, one for each target pixel."""

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

BEFORE_TILES = (FAKE + GRID_TILE, "\n\n" + FAKE + OVERVIEW)
"""What the runtime writes before each of the two tiles; after the last it writes FAKE."""


@dataclass(frozen=True)
class Contract:
    """What the app does: the bitmap it hands over, the prompt it spells, the answer it reads."""

    side: int
    resize: str
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
            prompt=prompt,
            max_new_tokens=config.device.max_new_tokens,
            labels=tuple(config.task.labels),
        )

    def bitmap(self, picture: Image.Image | Bitmap) -> Bitmap:
        """Fit into the square, centred on black: uint8 (side, side, 3).

        Sizes and offsets are the app's integer arithmetic: the longer side becomes `side`, the
        shorter one is truncated, an odd rest goes to the right and to the bottom."""
        pixels = np.asarray(picture if isinstance(picture, np.ndarray) else rgb(picture))
        height, width = pixels.shape[:2]
        longer = max(width, height)
        new_width = max(1, width * self.side // longer)
        new_height = max(1, height * self.side // longer)
        canvas = np.zeros((self.side, self.side, 3), np.uint8)
        top, left = (self.side - new_height) // 2, (self.side - new_width) // 2
        inside = RESIZERS[self.resize](pixels, new_width, new_height)
        canvas[top : top + new_height, left : left + new_width] = inside
        return canvas

    def layout(self, encode: Encode, image_id: int, tile_tokens: int) -> list[int]:
        """Token ids of the whole prompt as the runtime lays them out; `image_id` where an image
        embedding goes, `tile_tokens` of them a tile (two tiles)."""
        before, after = self.prompt.split(MARKER)
        ids = encode(before) if before else []
        for text in BEFORE_TILES:
            ids += encode(text) + [image_id] * tile_tokens
        return ids + encode(FAKE) + encode(after)

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


FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
"""Pillow's readers that are let near a file: others run programs (EPS) or take any bytes."""

BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    RuntimeError,
    TypeError,
    MemoryError,
    struct.error,
    Image.DecompressionBombError,
)
"""What these readers raise on damaged files (found by flipping bytes)."""


def open_picture(path: Path) -> Bitmap:
    """Decode a picture file as the app does: EXIF orientation applied, transparency over black.

    PocketError when the file is missing, no picture, truncated or a decompression bomb."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            return np.asarray(rgb(ImageOps.exif_transpose(picture)))
    except FileNotFoundError:
        raise PocketError(f"{path} does not exist: check the path") from None
    except UnidentifiedImageError:
        raise PocketError(
            f"{path} is no picture that can be read: give a JPEG, PNG or WebP"
        ) from None
    except BROKEN as error:
        raise PocketError(f"{path} cannot be decoded ({error}): replace the file") from None


def rgb(picture: Image.Image) -> Image.Image:
    """Any Pillow mode to RGB; transparent parts are laid over black, the padding's colour."""
    if picture.mode.startswith("I"):  # 16 bits, any byte order; convert() clips
        wide = np.asarray(picture, dtype=np.int64)
        return Image.fromarray((wide >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if "A" in picture.getbands() or "transparency" in picture.info:
        alpha = picture.convert("RGBA")
        black = Image.new("RGBA", alpha.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, alpha).convert("RGB")
    return picture.convert("RGB")


def bilinear(pixels: Bitmap, width: int, height: int) -> Bitmap:
    """Half-pixel bilinear without antialiasing in doubles, rounded half up.

    It is Android's createScaledBitmap(filter=true) to within 1 of 255, and plain IEEE arithmetic
    in a fixed order, so that Kotlin gives the same bytes."""
    left, right, fx = _taps(pixels.shape[1], width)
    top, bottom, fy = _taps(pixels.shape[0], height)
    upper = _blend(pixels[top], left, right, fx)
    lower = _blend(pixels[bottom], left, right, fx)
    return np.floor(upper + (lower - upper) * fy[:, None, None] + 0.5).astype(np.uint8)


def _blend(
    rows: Bitmap, left: Taps, right: Taps, weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Whole rows come first: gathering rows and columns at once takes twice as long."""
    first = rows.take(left, axis=1).astype(np.float64)
    return first + (rows.take(right, axis=1) - first) * weight[None, :, None]


def _taps(source: int, target: int) -> tuple[Taps, Taps, NDArray[np.float64]]:
    """For each target pixel: the two source pixels around its centre and the second's weight."""
    centre = (np.arange(target) + 0.5) * (source / target) - 0.5
    centre = centre.clip(0, source - 1)
    first = np.floor(centre).astype(np.intp)
    return first, np.minimum(first + 1, source - 1), centre - first


def _pillow(method: Image.Resampling) -> Callable[[Bitmap, int, int], Bitmap]:
    def resize(pixels: Bitmap, width: int, height: int) -> Bitmap:
        return np.asarray(Image.fromarray(pixels).resize((width, height), method))

    return resize


RESIZERS: dict[str, Callable[[Bitmap, int, int], Bitmap]] = {
    "bilinear": bilinear,
    "lanczos": _pillow(Image.Resampling.LANCZOS),
    "area": _pillow(Image.Resampling.BOX),
}
