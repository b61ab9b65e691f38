"""llama.cpp behind one small interface: the phone's runtime, asked as the app asks it.

Only this room touches llama-cpp-python's ctypes surface. One `Runtime` serves one picture at a
time; its KV cache is cleared between pictures.
"""

import ctypes
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import llama_cpp.llama_cpp as llama
import llama_cpp.mtmd_cpp as mtmd
import numpy as np
from numpy.typing import NDArray

from pocketvlm.contract import IMAGE, SINGLE, Contract
from pocketvlm.errors import PocketError
from pocketvlm.pictures import Bitmap
from pocketvlm.runtime import loading
from pocketvlm.runtime.loading import CONTEXT
from pocketvlm.runtime.parts import Part, Tile, Tokens, cut, tiles_of
from pocketvlm.sections import MARKER


@dataclass(frozen=True)
class Answer:
    """What the runtime said: the text without the end token, the token ids with it."""

    text: str
    ids: list[int]
    ended: bool
    """Whether an end-of-generation token came before the limit."""
    ms: float
    """Milliseconds from bitmap and prompt to the last token."""
    vision_ms: float
    """Of these, in the vision tower and the projector."""


class Runtime:
    """A text model and its vision file, open on the processor; a context manager.

    `tiles` is the contract's (`device.tiles`); `exact` takes an F32 KV cache and no flash
    attention, for parity with torch; `threads` is the number of physical cores unless given, one
    for a tiny model. What all pictures share is computed once: the tokens before the picture, and
    the tower where all tiles hold the same pixels. `stock` does as an app without our C++ file:
    bitmaps of any size are resized by mtmd, each tile is encoded, nothing is kept. PocketError when
    a file is missing or broken, or when the two are of different models."""

    def __init__(
        self,
        text: Path,
        vision: Path,
        *,
        tiles: str = "runtime",
        stock: bool = False,
        exact: bool = False,
        threads: int | None = None,
    ) -> None:
        self._vision_file = vision
        self._single, self._stock = tiles == "single", stock
        self._kept: Tokens = []
        self._handles: loading.Handles | None = loading.load(text, vision, threads, exact)
        self._position = 0
        self.size = int(llama.llama_vocab_n_tokens(self._native.vocabulary))
        self.hidden = int(llama.llama_model_n_embd(self._native.model))
        self.side, self.made_under = loading.recorded(vision)
        self.image_id = self.tokens(IMAGE)[0]
        self.end_ids = [
            token
            for token in range(self.size)
            if llama.llama_vocab_is_eog(self._native.vocabulary, token)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the native memory; calling it again does nothing."""
        if self._handles is not None:
            self._handles.close()
            self._handles = None

    def check_contract(self, contract: Contract) -> None:
        """PocketError when the files were made for another contract (prompt, labels, bitmap)."""
        if self.made_under not in (None, contract.hash):
            raise PocketError(
                f"{self._vision_file} was made for another contract (prompt, labels, bitmap) than "
                "is asked now: run `pocketvlm run`, or put the configuration back"
            )

    def tokens(self, text: str) -> list[int]:
        """Token ids of a text: special tokens parsed, none added."""
        data = text.encode()
        buffer = (llama.llama_token * (len(data) + 1))()
        count = llama.llama_tokenize(
            self._native.vocabulary, data, len(data), buffer, len(buffer), False, True
        )
        return list(buffer[:count])

    def text(self, ids: Sequence[int]) -> str:
        """Token ids as text, special tokens spelled out, broken UTF-8 replaced."""
        pieces = (self._piece(token) for token in ids)
        return b"".join(pieces).decode("utf-8", errors="replace")

    def ids(self, prompt: str, bitmap: Bitmap) -> list[int]:
        """Token ids of the whole prompt as the runtime lays it out, `<image>` in image slots."""
        ids: list[int] = []
        with self._parts(prompt, bitmap) as parts:
            for part in parts:
                ids += [self.image_id] * part.size if isinstance(part, Tile) else part
        return ids

    def answer(self, prompt: str, bitmap: Bitmap, max_new_tokens: int) -> Answer:
        """Greedy answer to one picture, up to an end-of-generation token or the limit."""
        self._tiles_repeat  # noqa: B018  asked once, outside of the time
        started = time.perf_counter()
        vision = self._read(prompt, bitmap)
        ids: list[int] = []
        ended = False
        while not ended and len(ids) < max_new_tokens:
            self._decode(ids[-1:])
            ids.append(int(self._logits().argmax()))
            ended = ids[-1] in self.end_ids
        milliseconds = (time.perf_counter() - started) * 1000
        text = self.text(ids[:-1] if ended else ids)
        return Answer(text, ids, ended, milliseconds, vision * 1000)

    def logits(self, prompt: str, bitmap: Bitmap) -> NDArray[np.float32]:
        """First-token logits, shape (vocabulary,)."""
        self._read(prompt, bitmap)
        return self._logits().copy()

    def likelihoods(
        self, prompt: str, bitmap: Bitmap, answers: Sequence[str]
    ) -> NDArray[np.float64]:
        """Log-probability of each whole answer, shape (answers,); the prompt is read once.

        An answer's text includes its end token."""
        self._read(prompt, bitmap)
        first = _log_softmax(self._logits())
        return np.array([self._likelihood(first, self.tokens(answer)) for answer in answers])

    def embeddings(self, bitmap: Bitmap) -> NDArray[np.float32]:
        """Tower and projector, shape (tiles, tile tokens, hidden)."""
        with self._parts(MARKER, bitmap) as parts:
            return np.stack([self._encode(tile) for tile in tiles_of(parts)])

    def text_logits(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """The text model alone: embeddings (n, hidden) to the last position's logits."""
        values = np.ascontiguousarray(embeddings, np.float32)
        if values.shape[1:] != (self.hidden,):
            raise ValueError(f"embeddings of shape {values.shape}, expected (n, {self.hidden})")
        self._clear()
        batch = llama.llama_batch_init(len(values), self.hidden, 1)
        ctypes.memmove(batch.embd, values.ctypes.data, values.nbytes)
        self._run(batch, len(values))
        return self._logits().copy()

    @property
    def _native(self) -> loading.Handles:
        if self._handles is None:
            raise ValueError("the runtime is closed")
        return self._handles

    def _piece(self, token: int) -> bytes:
        buffer = ctypes.create_string_buffer(1024)
        vocabulary = self._native.vocabulary
        count = llama.llama_token_to_piece(vocabulary, token, buffer, len(buffer), 0, True)
        return buffer.raw[:count]

    def _clear(self) -> None:
        llama.llama_memory_clear(self._native.memory, True)
        self._position, self._kept = 0, []

    def _rewind(self, position: int) -> None:
        """Forget everything from a position on."""
        if not llama.llama_memory_seq_rm(self._native.memory, 0, position, -1):
            raise PocketError("llama.cpp could not shorten its KV cache")
        self._position = position

    def _read(self, prompt: str, bitmap: Bitmap) -> float:
        """Evaluate a prompt; seconds spent in the vision tower.

        The tokens before the picture stay in the cache from one picture to the next."""
        with self._parts(prompt, bitmap) as parts:
            start = parts[0] if isinstance(parts[0], list) else []
            if start and start == self._kept and not self._stock:
                self._rewind(len(start))
            else:
                self._clear()
                self._decode(start)
            self._kept = start
            vision = time.perf_counter()
            seen = self._see(tiles_of(parts))
            vision = time.perf_counter() - vision
            for part in parts[1:] if start else parts:
                if isinstance(part, Tile):
                    self._decode_image(part, seen.pop(0))
                else:
                    self._decode(part)
        return vision

    @contextmanager
    def _parts(self, prompt: str, bitmap: Bitmap) -> Iterator[list[Part]]:
        """Prompt and picture in parts. The bitmap must have the tower's side, or mtmd would resize
        it unasked."""
        wanted = (self.side, self.side, 3)
        if not self._stock and (bitmap.shape != wanted or bitmap.dtype != np.uint8):
            raise PocketError(
                f"the bitmap is {bitmap.dtype} {bitmap.shape}, but {self._vision_file.name} has "
                f"clip.vision.image_size {self.side} and takes uint8 {wanted}: prepare and convert "
                "under the same device.side"
            )
        with cut(self._native.vision, prompt, bitmap) as parts:
            yield self._overview(prompt, parts) if self._single else parts

    def _overview(self, prompt: str, parts: Sequence[Part]) -> list[Part]:
        """The last tile alone, between the texts that the app writes round it."""
        before, after = (
            self.tokens(text) for text in prompt.replace(MARKER, MARKER.join(SINGLE)).split(MARKER)
        )
        return [before, tiles_of(parts)[-1], after]

    def _see(self, tiles: Sequence[Tile]) -> list[NDArray[np.float32]]:
        """Embeddings of each tile; encoded once where the runtime makes equal tiles."""
        if len(tiles) > 1 and self._tiles_repeat:
            return [self._encode(tiles[0])] * len(tiles)
        return [self._encode(tile) for tile in tiles]

    @cached_property
    def _tiles_repeat(self) -> bool:
        """Whether all tiles of a picture hold the same pixels, asked with a picture of noise; not
        asked where it does not matter."""
        if self._stock or self._single:
            return False
        noise = np.random.default_rng(0).integers(0, 256, (self.side, self.side, 3), np.uint8)
        with cut(self._native.vision, MARKER, noise) as parts:
            tiles = tiles_of(parts)
            first = self._encode(tiles[0])
            return all(np.array_equal(first, self._encode(tile)) for tile in tiles[1:])

    def _encode(self, tile: Tile) -> NDArray[np.float32]:
        """Tower and projector on one tile, shape (tile tokens, hidden)."""
        if mtmd.mtmd_encode_chunk(self._native.vision, tile.chunk):
            raise PocketError(f"{self._vision_file.name}: the vision tower failed on a picture")
        values = mtmd.mtmd_get_output_embd(self._native.vision)
        return np.ctypeslib.as_array(values, (tile.size, self.hidden)).copy()

    def _decode_image(self, tile: Tile, values: NDArray[np.float32]) -> None:
        """Append a tile; mtmd knows its positions and its attention."""
        self._check_room(tile.size)
        position = llama.llama_pos(0)
        failed = mtmd.mtmd_helper_decode_image_chunk(
            self._native.vision,
            self._native.context,
            tile.chunk,
            values.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
            self._position,
            0,
            CONTEXT,
            ctypes.byref(position),
            mtmd.mtmd_helper_post_decode_callback(),
            None,
        )
        if failed:
            raise PocketError(f"llama.cpp could not decode an image chunk (code {failed})")
        self._position = int(position.value)

    def _decode(self, tokens: Sequence[int], every: bool = False) -> None:
        """Append tokens, none or more; logits for the last one, or for every one."""
        if tokens:
            batch = llama.llama_batch_init(len(tokens), 0, 1)
            for at, token in enumerate(tokens):
                batch.token[at] = token
            self._run(batch, len(tokens), every)

    def _run(self, batch: Any, count: int, every: bool = False) -> None:
        """Decode and free a batch."""
        batch.n_tokens = count
        for at in range(count):
            batch.pos[at] = self._position + at
            batch.n_seq_id[at], batch.seq_id[at][0] = 1, 0
            batch.logits[at] = every or at == count - 1
        try:
            self._check_room(count)
            if failed := llama.llama_decode(self._native.context, batch):
                raise PocketError(f"llama.cpp could not decode {count} tokens (code {failed})")
        finally:
            llama.llama_batch_free(batch)
        self._position += count

    def _check_room(self, count: int) -> None:
        """llama.cpp ends the process when a batch is larger than its limit: refuse before."""
        if self._position + count > CONTEXT:
            raise PocketError(
                f"prompt, picture and answer need more than the {CONTEXT} tokens of the context: "
                "shorten task.question or take a smaller device.side"
            )

    def _logits(self, at: int = -1) -> NDArray[np.float32]:
        """Logits of a token of the last batch: a view that the next batch overwrites."""
        pointer = llama.llama_get_logits_ith(self._native.context, at)
        return np.ctypeslib.as_array(pointer, (self.size,))

    def _likelihood(self, first: NDArray[np.float64], ids: Sequence[int]) -> float:
        """Score an answer after the prompt, then roll the cache back to the prompt's end."""
        start = self._position
        self._decode(ids[:-1], every=True)
        later = [_log_softmax(self._logits(at)) for at in range(len(ids) - 1)]
        self._rewind(start)
        return sum(float(row[token]) for row, token in zip([first, *later], ids, strict=True))


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-probabilities in double precision."""
    shifted = logits.astype(np.float64) - float(logits.max())
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))
