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
from pocketvlm.runtime.grammar import Grammar
from pocketvlm.runtime.loading import CONTEXT
from pocketvlm.runtime.logits import likeliest, likelihood, log_softmax
from pocketvlm.runtime.parts import Part, Tile, Tokens, cut, tiles_of
from pocketvlm.runtime.sequences import Sequences
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
    prompt_ms: float
    """Of these, in the text model until prompt and picture are read."""

    @property
    def answer_ms(self) -> float:
        """Of these, in the tokens of the answer."""
        return self.ms - self.vision_ms - self.prompt_ms


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
        self.size = int(llama.llama_vocab_n_tokens(self._native.vocabulary))
        self.hidden = int(llama.llama_model_n_embd(self._native.model))
        self._sequences = Sequences(
            self._native.context,
            size=self.size,
            hidden=self.hidden,
            room=CONTEXT,
            most=CONTEXT,
            count=loading.SEQUENCES,
        )
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
        with self.parts(prompt, bitmap) as parts:
            for part in parts:
                ids += [self.image_id] * part.size if isinstance(part, Tile) else part
        return ids

    def answer(
        self, prompt: str, bitmap: Bitmap, max_new_tokens: int, grammar: Grammar | None = None
    ) -> Answer:
        """Greedy answer to one picture, up to an end-of-generation token or the limit; of what a
        grammar allows, where one is given."""
        self._tiles_repeat  # noqa: B018  asked once, outside of the time
        choose = grammar.choose if grammar else likeliest
        if grammar:
            grammar.restart()
        started = time.perf_counter()
        vision = self._read(prompt, bitmap)
        read = time.perf_counter() - started
        ids: list[int] = []
        ended = False
        while not ended and len(ids) < max_new_tokens:
            self._decode(ids[-1:])
            ids.append(choose(self._cache.logits()))
            ended = ids[-1] in self.end_ids
        milliseconds = (time.perf_counter() - started) * 1000
        text = self.text(ids[:-1] if ended else ids)
        return Answer(text, ids, ended, milliseconds, vision * 1000, (read - vision) * 1000)

    def open_context(self, sequences: int, room: int) -> Any:
        """One more context, with `room` positions in each of several sequences. It is the caller's
        to free, before the runtime is closed."""
        return loading.open_context(self._native, sequences, room)

    @property
    def vision(self) -> Any:
        """mtmd's context."""
        return self._native.vision

    def grammar(self, text: str) -> Grammar:
        """A grammar (GBNF) for this model's tokens; close it before the runtime."""
        return Grammar(self._native.vocabulary, text)

    def logits(self, prompt: str, bitmap: Bitmap) -> NDArray[np.float32]:
        """First-token logits, shape (vocabulary,)."""
        self._read(prompt, bitmap)
        return self._cache.logits().copy()

    def likelihoods(
        self, prompt: str, bitmap: Bitmap, answers: Sequence[str]
    ) -> NDArray[np.float64]:
        """Log-probability of each whole answer, shape (answers,). The prompt is read once, and the
        answers after it side by side, in one pass.

        An answer's text includes its end token."""
        self._read(prompt, bitmap)
        first = log_softmax(self._cache.logits())
        every = [self.tokens(answer) for answer in answers]
        beside = loading.SEQUENCES - 1
        starts = range(0, len(every), beside)
        return np.array(
            [one for at in starts for one in self._score(first, every[at : at + beside])]
        )

    def embeddings(self, bitmap: Bitmap) -> NDArray[np.float32]:
        """Tower and projector, shape (tiles, tile tokens, hidden)."""
        with self.parts(MARKER, bitmap) as parts:
            return np.stack([self._encode(tile) for tile in tiles_of(parts)])

    def text_logits(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """The text model alone: embeddings (n, hidden) to the last position's logits."""
        self._clear()
        self._cache.see({0: embeddings})
        return self._cache.logits().copy()

    @property
    def _native(self) -> loading.Handles:
        if self._handles is None:
            raise ValueError("the runtime is closed")
        return self._handles

    @property
    def _cache(self) -> Sequences:
        self._native  # noqa: B018  freed memory must not be asked
        return self._sequences

    def _piece(self, token: int) -> bytes:
        buffer = ctypes.create_string_buffer(1024)
        vocabulary = self._native.vocabulary
        count = llama.llama_token_to_piece(vocabulary, token, buffer, len(buffer), 0, True)
        return buffer.raw[:count]

    def _clear(self) -> None:
        self._cache.clear()
        self._kept = []

    def _read(self, prompt: str, bitmap: Bitmap) -> float:
        """Evaluate a prompt; seconds spent in the vision tower.

        The tokens before the picture stay in the cache from one picture to the next."""
        with self.parts(prompt, bitmap) as parts:
            start = parts[0] if isinstance(parts[0], list) else []
            if start and start == self._kept and not self._stock:
                self._cache.rewind(0, len(start))
            else:
                self._clear()
                self._decode(start)
            self._kept = start
            vision = time.perf_counter()
            seen = self.see(tiles_of(parts))
            vision = time.perf_counter() - vision
            for part in parts[1:] if start else parts:
                if isinstance(part, Tile):
                    self._decode_image(part, seen.pop(0))
                else:
                    self._decode(part)
        return vision

    @contextmanager
    def parts(self, prompt: str, bitmap: Bitmap) -> Iterator[list[Part]]:
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

    def see(self, tiles: Sequence[Tile]) -> list[NDArray[np.float32]]:
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
        self._cache.check_room(0, tile.size)
        position = llama.llama_pos(0)
        failed = mtmd.mtmd_helper_decode_image_chunk(
            self._native.vision,
            self._native.context,
            tile.chunk,
            values.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
            self._cache.positions[0],
            0,
            CONTEXT,
            ctypes.byref(position),
            mtmd.mtmd_helper_post_decode_callback(),
            None,
        )
        if failed:
            raise PocketError(f"llama.cpp could not decode an image chunk (code {failed})")
        self._cache.positions[0] = int(position.value)

    def _decode(self, tokens: Sequence[int]) -> None:
        """Append tokens, none or more; logits for the last one."""
        self._cache.read({0: tokens})

    def _score(self, first: NDArray[np.float64], answers: Sequence[Sequence[int]]) -> list[float]:
        """Log-probabilities of answers after the prompt, side by side."""
        beside = range(1, len(answers) + 1)
        self._cache.fork(0, beside)
        longer = {at: ids[:-1] for at, ids in zip(beside, answers, strict=True)}
        self._cache.read(longer, every=True)
        scores = []
        for at, ids in zip(beside, answers, strict=True):
            later = [log_softmax(self._cache.logits(at, place)) for place in range(len(ids) - 1)]
            scores.append(likelihood(first, later, ids))
            self._cache.rewind(at, 0)
        return scores
