"""What a training step costs at the least: its multiplications and additions, at the rate that
torch's matrices reach on this machine."""

import time
from typing import Any

import torch
from torch.nn import functional

Sizes = dict[str, Any]
"""The `text_config` of a SmolVLM."""


def shapes(text: Sizes) -> list[tuple[int, int]]:
    """Inputs and outputs of a layer's matrices: q, k, v, o, gate, up, down."""
    width, inner = text["hidden_size"], text["intermediate_size"]
    queries = text["num_attention_heads"] * text["head_dim"]
    keys = text["num_key_value_heads"] * text["head_dim"]
    attention = [(width, queries), (width, keys), (width, keys), (queries, width)]
    return [*attention, (width, inner), (width, inner), (inner, width)]


def matrices(text: Sizes, tokens: int, answer: int, rank: int) -> float:
    """Operations of one picture in frozen matrices, their adapters and the head, there and back.

    Frozen matrices pass gradients on and need none themselves; adapters need both. Before the first
    layer nothing learns, so its q, k and v pass none on. Words are scored only for the answer."""
    layer = shapes(text)
    frozen = sum(a * b for a, b in layer)
    adapters = rank * sum(a + b for a, b in layer)
    first = sum(a * b + a * rank for a, b in layer[:3])
    through = text["num_hidden_layers"] * (2 * frozen + 3 * adapters) - first
    head = 2 * text["vocab_size"] * text["hidden_size"]
    return float(2 * (tokens * through + answer * head))


def attention(text: Sizes, tokens: int) -> float:
    """Operations of one picture in the attention's scores and sums, there and twice as many back;
    each token looks at itself and at those before it."""
    width = text["num_attention_heads"] * text["head_dim"]
    pairs = tokens * (tokens + 1) / 2
    return float(2 * text["num_hidden_layers"] * 3 * 2 * pairs * width)


def matmul_rate(text: Sizes, rows: int, dtype: torch.dtype, rounds: int = 10) -> float:
    """Operations a second of `rows` tokens through a layer's frozen matrices and back:
    the best of some rounds."""
    made = [(torch.rand(rows, a).to(dtype), torch.rand(b, a).to(dtype)) for a, b in shapes(text)]
    work = sum(2 * 2 * rows * weight.numel() for _, weight in made)
    best = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        for inputs, weight in made:
            functional.linear(inputs, weight) @ weight
        best = min(best, time.perf_counter() - started)
    return work / best
