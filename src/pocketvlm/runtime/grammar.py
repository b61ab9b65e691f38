"""Answers under a grammar: llama.cpp lets through only what a label can still become."""

import ctypes
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from pocketvlm.errors import PocketError

CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""llama_token_data (llama.h)."""

FIRST = (1, 256)
"""So many of the likeliest tokens are tried before all are: 0.6 s for 49,280 of them, and a
trained student's likeliest is mostly allowed (llama.cpp's common/sampling.cpp tries it first)."""


def gbnf(labels: Iterable[str]) -> str:
    """The grammar of the labels' answers, a space before each as the student was taught."""
    return "root ::= " + " | ".join(f'" {_escaped(label)}"' for label in labels) + "\n"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"')


class Grammar:
    """A grammar in llama.cpp, at the start of an answer; a context manager. PocketError when it
    cannot be read."""

    def __init__(self, vocabulary: Any, text: str) -> None:
        self._sampler = llama.llama_sampler_init_grammar(vocabulary, text.encode(), b"root")
        if not self._sampler:
            raise PocketError(f"llama.cpp cannot read the labels' grammar: {text.strip()}")

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
        """Free the native memory."""
        llama.llama_sampler_free(self._sampler)

    def choose(self, logits: NDArray[np.float32]) -> int:
        """The likeliest token that the grammar allows, which it then counts as said."""
        for count in (*FIRST, len(logits)):
            best = np.argpartition(-logits, min(count, len(logits) - 1))[:count]
            if (token := self._allowed(best, logits[best])) is not None:
                llama.llama_sampler_accept(self._sampler, token)
                return token
        raise PocketError("the labels' grammar allows no token of this model: convert it again")

    def _allowed(self, ids: NDArray[np.intp], logits: NDArray[np.float32]) -> int | None:
        """The likeliest of these tokens that may come next, if any may."""
        rows = np.zeros(len(ids), CANDIDATE)
        rows["id"], rows["logit"] = ids, logits
        pointer = rows.ctypes.data_as(ctypes.POINTER(llama.llama_token_data))
        array = llama.llama_token_data_array(pointer, len(rows), -1, False)
        llama.llama_sampler_apply(self._sampler, ctypes.byref(array))
        at = int(rows["logit"].argmax())
        return int(rows["id"][at]) if np.isfinite(rows["logit"][at]) else None

    def restart(self) -> None:
        """Back to the start of an answer."""
        llama.llama_sampler_reset(self._sampler)
