"""Token sequences side by side in one context of llama.cpp, each at its own place."""

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from pocketvlm.errors import PocketError

Floats = NDArray[np.float32]


class Sequences:
    """`count` sequences of at most `room` positions each; a batch holds at most `most` tokens.

    `size` is the vocabulary's, `hidden` the width of an embedding."""

    def __init__(
        self, context: Any, *, size: int, hidden: int, room: int, most: int, count: int = 1
    ) -> None:
        self._context, self._memory = context, llama.llama_get_memory(context)
        self._size, self._hidden, self._room, self._most = size, hidden, room, most
        self.positions = [0] * count
        self._starts: dict[int, tuple[int, int]] = {}

    def clear(self) -> None:
        """Forget everything."""
        llama.llama_memory_clear(self._memory, True)
        self.positions = [0] * len(self.positions)

    def rewind(self, sequence: int, position: int) -> None:
        """Forget everything of a sequence from a position on."""
        if not llama.llama_memory_seq_rm(self._memory, sequence, position, -1):
            raise PocketError("llama.cpp could not shorten its KV cache")
        self.positions[sequence] = position

    def fork(self, source: int, targets: Sequence[int]) -> None:
        """Let other sequences begin as this one; they share its cells of a unified cache."""
        for target in targets:
            self.rewind(target, 0)
            llama.llama_memory_seq_cp(self._memory, source, target, 0, -1)
            self.positions[target] = self.positions[source]

    def read(self, rows: Mapping[int, Sequence[int]], every: bool = False) -> None:
        """Append token ids to sequences; logits for the last one of each, or for every one."""
        rows = {sequence: ids for sequence, ids in rows.items() if ids}
        if rows:
            batch = llama.llama_batch_init(sum(map(len, rows.values())), 0, 1)
            for at, token in enumerate(token for ids in rows.values() for token in ids):
                batch.token[at] = token
            self._run(batch, {sequence: len(ids) for sequence, ids in rows.items()}, every)

    def see(self, rows: Mapping[int, Floats]) -> None:
        """Append embeddings (n, hidden) to sequences; logits for the last one of each."""
        values = np.ascontiguousarray(np.concatenate(list(rows.values())), np.float32)
        if values.shape[1:] != (self._hidden,):
            raise ValueError(f"embeddings of shape {values.shape}, expected (n, {self._hidden})")
        batch = llama.llama_batch_init(len(values), self._hidden, 1)
        ctypes.memmove(batch.embd, values.ctypes.data, values.nbytes)
        self._run(batch, {sequence: len(part) for sequence, part in rows.items()}, False)

    def logits(self, sequence: int = 0, at: int = -1) -> Floats:
        """Logits (vocabulary,) of the last token that the last batch gave a sequence, or of its
        token number `at` where every one was asked for: a view that the next batch overwrites."""
        start, count = self._starts[sequence]
        pointer = llama.llama_get_logits_ith(self._context, start + at % count)
        return np.ctypeslib.as_array(pointer, (self._size,))

    def check_room(self, sequence: int, count: int) -> None:
        """llama.cpp ends the process when a batch is larger than its limit: refuse before."""
        if self.positions[sequence] + count > self._room:
            raise PocketError(
                f"prompt, picture and answer need more than the {self._room} tokens of the "
                "context: shorten task.question or take a smaller device.side"
            )

    def _run(self, batch: Any, counts: Mapping[int, int], every: bool) -> None:
        """Decode and free a batch of `counts[sequence]` tokens each, in that order."""
        batch.n_tokens = total = sum(counts.values())
        self._starts, at = {}, 0
        for sequence, count in counts.items():
            self._starts[sequence] = at, count
            for offset in range(count):
                batch.pos[at] = self.positions[sequence] + offset
                batch.n_seq_id[at], batch.seq_id[at][0] = 1, sequence
                batch.logits[at] = every or offset == count - 1
                at += 1
        try:
            for sequence, count in counts.items():
                self.check_room(sequence, count)
            if total > self._most:
                raise ValueError(f"{total} tokens in a batch of at most {self._most}")
            if failed := llama.llama_decode(self._context, batch):
                raise PocketError(f"llama.cpp could not decode {total} tokens (code {failed})")
        finally:
            llama.llama_batch_free(batch)
        for sequence, count in counts.items():
            self.positions[sequence] += count
