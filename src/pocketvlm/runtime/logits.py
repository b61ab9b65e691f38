"""What logits say: the likeliest token, and how likely a whole answer is."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def likeliest(logits: NDArray[np.float32]) -> int:
    """The token that greedy decoding takes."""
    return int(logits.argmax())


def likelihood(
    first: NDArray[np.float64], later: Sequence[NDArray[np.float64]], ids: Sequence[int]
) -> float:
    """Log-probability of a whole answer from those of its first token and of each later one."""
    return sum(float(row[token]) for row, token in zip([first, *later], ids, strict=True))


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-probabilities in double precision."""
    shifted = logits.astype(np.float64) - float(logits.max())
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))
