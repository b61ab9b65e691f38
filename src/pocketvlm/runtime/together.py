"""Many pictures at a time: what a text model reads or says of one, it does of all in one batch.

A batch of sixteen pictures reads each weight once for all of them: of one alone, short runs of
tokens between two tiles and single tokens of an answer mostly wait for memory. Each picture has a
sequence of its own, so that none sees another.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import llama_cpp.llama_cpp as llama
import llama_cpp.mtmd_cpp as mtmd
import numpy as np
from numpy.typing import NDArray

from pocketvlm.contract import Contract
from pocketvlm.errors import PocketError
from pocketvlm.pictures import Bitmap
from pocketvlm.runtime import loading
from pocketvlm.runtime.grammar import Grammar, gbnf
from pocketvlm.runtime.llama import Runtime
from pocketvlm.runtime.loading import CONTEXT
from pocketvlm.runtime.logits import likeliest, likelihood, log_softmax
from pocketvlm.runtime.parts import Part, Tile, Tokens, tiles_of
from pocketvlm.runtime.sequences import Floats, Sequences

MOST = 16
"""Pictures at a time."""

CELLS = 4096
"""Positions of all their sequences together: 164 MB for a 500M."""

Choose = Callable[[int, Floats], int]
"""Sequence and logits to the token it goes on with."""


@dataclass(frozen=True)
class Asked:
    """What a pair of files says of one picture."""

    text: str
    """The greedy answer, without its end token."""
    tokens: int
    """Generated, the end token among them."""
    ended: bool
    """Whether an end token came before the limit."""
    likelihoods: tuple[float, ...] | None = None
    """Log-probability of each label's whole answer with its end token, where it was asked for."""
    constrained: str | None = None
    """The greedy answer under the labels' grammar, where it was asked for."""


@dataclass(frozen=True)
class Said:
    """One generated answer."""

    ids: Tokens
    ended: bool


class Together:
    """An open runtime with room for several pictures of one contract; a context manager.

    `size` is how many are read at a time. PocketError when there is no memory for it."""

    def __init__(self, runtime: Runtime, contract: Contract) -> None:
        self._runtime, self._contract = runtime, contract
        self._answers = [runtime.tokens(contract.answer(label)) for label in contract.labels]
        side = contract.side
        prompt = len(runtime.ids(contract.prompt, np.zeros((side, side, 3), np.uint8)))
        longest = max(contract.max_new_tokens, *map(len, self._answers))
        needed = -(-(prompt + longest) // loading.CELLS) * loading.CELLS
        self.size = max(1, min(MOST, CELLS // needed))
        self._context = runtime.open_context(self.size, needed)
        self._cache = Sequences(
            self._context,
            size=runtime.size,
            hidden=runtime.hidden,
            room=needed,
            most=max(CONTEXT, needed),
            count=self.size,
        )
        self._kept: Tokens = []
        self._grammars: list[Grammar] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for grammar in self._grammars:
            grammar.close()
        llama.llama_free(self._context)

    def ask(
        self, bitmaps: Sequence[Bitmap], *, likelihoods: bool = False, grammar: bool = False
    ) -> list[Asked]:
        """What the model says of up to `size` pictures."""
        first = self._read(bitmaps)
        end = self._cache.positions[: len(bitmaps)]
        said = self._generate(first, lambda _, logits: likeliest(logits))
        self._rewind(end)
        scores = self._score(first, end) if likelihoods else None
        constrained = self._constrained(first) if grammar else None
        return [
            Asked(
                self._text(one),
                len(one.ids),
                one.ended,
                tuple(scores[at].tolist()) if scores is not None else None,
                self._text(constrained[at]) if constrained else None,
            )
            for at, one in enumerate(said)
        ]

    def _read(self, bitmaps: Sequence[Bitmap]) -> list[Floats]:
        """Evaluate the prompt with each picture; the logits (vocabulary,) of what comes next."""
        every: list[list[Part]] = []
        seen: list[list[Floats]] = []
        with ExitStack() as stack:
            for bitmap in bitmaps:
                every.append(
                    stack.enter_context(self._runtime.parts(self._contract.prompt, bitmap))
                )
                tiles = tiles_of(every[-1])
                self._check_plain(tiles[0])
                seen.append(self._runtime.see(tiles))
        start = every[0][0] if isinstance(every[0][0], list) else []
        self._start(start)
        first: dict[int, Floats] = {}
        for parts in zip(*(parts[bool(start) :] for parts in every), strict=True):
            for rows in _side_by_side(parts):
                texts = {at: part for at in rows if isinstance(part := parts[at], list)}
                if texts:
                    self._cache.read(texts)
                else:
                    self._cache.see({at: seen[at].pop(0) for at in rows})
                first |= {at: self._cache.logits(at).copy() for at in rows}
        return [first[at] for at in range(len(bitmaps))]

    def _start(self, start: Tokens) -> None:
        """The text before the picture, which stays in the cache from one batch to the next."""
        if start != self._kept or not start:
            self._cache.clear()
            self._cache.read({0: start})
            self._cache.fork(0, range(1, self.size))
            self._kept = start
        self._rewind([len(start)] * self.size)

    def _rewind(self, positions: Sequence[int]) -> None:
        for at, position in enumerate(positions):
            self._cache.rewind(at, position)

    def _generate(self, first: Sequence[Floats], choose: Choose) -> list[Said]:
        """Whole answers, one token of all of them at a time."""
        ids = [[choose(at, logits)] for at, logits in enumerate(first)]
        for _ in range(self._contract.max_new_tokens - 1):
            open = {at: one[-1:] for at, one in enumerate(ids) if not self._ends(one)}
            if not open:
                break
            self._cache.read(open)
            for at in open:
                ids[at].append(choose(at, self._cache.logits(at)))
        return [Said(one, self._ends(one)) for one in ids]

    def _score(self, first: Sequence[Floats], end: Sequence[int]) -> NDArray[np.float64]:
        """Log-probabilities (pictures, labels) of the labels' answers, a label at a time."""
        begun = [log_softmax(logits) for logits in first]
        scores = np.zeros((len(first), len(self._answers)))
        for label, ids in enumerate(self._answers):
            self._cache.read(dict.fromkeys(range(len(first)), ids[:-1]), every=True)
            for at in range(len(first)):
                later = [log_softmax(self._cache.logits(at, i)) for i in range(len(ids) - 1)]
                scores[at, label] = likelihood(begun[at], later, ids)
            self._rewind(end)
        return scores

    def _constrained(self, first: Sequence[Floats]) -> list[Said]:
        """Answers under the labels' grammar."""
        while len(self._grammars) < len(first):
            self._grammars.append(self._runtime.grammar(gbnf(self._contract.labels)))
        for grammar in self._grammars:
            grammar.restart()
        return self._generate(first, lambda at, logits: self._grammars[at].choose(logits))

    def _ends(self, ids: Tokens) -> bool:
        return ids[-1] in self._runtime.end_ids

    def _text(self, said: Said) -> str:
        return self._runtime.text(said.ids[:-1] if said.ended else said.ids)

    def _check_plain(self, tile: Tile) -> None:
        """Every SmolVLM's tiles are read as text is, one position after the other; mtmd knows other
        models whose tiles are not."""
        vision = self._runtime.vision
        if mtmd.mtmd_decode_use_mrope(vision) or mtmd.mtmd_decode_use_non_causal(
            vision, tile.chunk
        ):
            raise PocketError("these files are of no SmolVLM: only its pictures can be judged")


def _side_by_side(parts: Sequence[Part]) -> Iterator[range]:
    """Which of equally long parts go through the model together, so that none is computed in two
    pieces: its attention is rounded otherwise in the pieces than in one (ggml's flash attention
    takes another way from 64 tokens on), and a picture alone is read in one."""
    length = parts[0].size if isinstance(parts[0], Tile) else len(parts[0])
    beside = max(1, loading.MICRO_BATCH // length)
    for begin in range(0, len(parts), beside):
        yield range(begin, min(begin + beside, len(parts)))
