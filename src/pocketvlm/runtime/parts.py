"""The runtime's own cut of a prompt and a picture into runs of tokens and tiles (mtmd's chunks)."""

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import llama_cpp.mtmd_cpp as mtmd
import numpy as np

from pocketvlm.errors import PocketError
from pocketvlm.pictures import Bitmap
from pocketvlm.runtime import loading

Tokens = list[int]


@dataclass(frozen=True)
class Tile:
    """One image chunk; void after the block of `cut` that gave it."""

    chunk: Any
    size: int
    """Embeddings that the tower makes of it."""


Part = Tokens | Tile


@contextmanager
def cut(vision: Any, prompt: str, bitmap: Bitmap) -> Iterator[list[Part]]:
    """What `mtmd_tokenize` makes of a raw prompt with one marker and a bitmap (height, width, 3).

    No special token is added, those in the prompt are parsed. PocketError when the prompt has not
    exactly one marker."""
    pixels = np.ascontiguousarray(bitmap, np.uint8)
    data = prompt.encode()
    text = mtmd.mtmd_input_text(data, len(data), add_special=False, parse_special=True)
    picture = mtmd.mtmd_bitmap_init(
        pixels.shape[1], pixels.shape[0], pixels.ctypes.data_as(ctypes.POINTER(ctypes.c_ubyte))
    )
    chunks = mtmd.mtmd_input_chunks_init()
    pictures = (mtmd.mtmd_bitmap_p_ctypes * 1)(picture)
    try:
        with loading.reasons() as why:
            if mtmd.mtmd_tokenize(vision, chunks, text, pictures, 1):
                raise PocketError(f"no layout for the prompt {prompt!r}: {'; '.join(why)}")
        count = mtmd.mtmd_input_chunks_size(chunks)
        yield [_part(mtmd.mtmd_input_chunks_get(chunks, at)) for at in range(count)]
    finally:
        mtmd.mtmd_input_chunks_free(chunks)
        mtmd.mtmd_bitmap_free(picture)


def tiles_of(parts: Sequence[Part]) -> list[Tile]:
    """The tiles alone, in order."""
    return [part for part in parts if isinstance(part, Tile)]


def _part(chunk: Any) -> Part:
    if mtmd.mtmd_input_chunk_get_type(chunk) != mtmd.MTMD_INPUT_CHUNK_TYPE_TEXT:
        return Tile(chunk, int(mtmd.mtmd_input_chunk_get_n_tokens(chunk)))
    count = ctypes.c_size_t()
    tokens = mtmd.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
    return list(tokens[: count.value])
