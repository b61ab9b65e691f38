"""Torch's tower with the two roundings that llama.cpp makes in every file, F32 too.

ggml's patch convolution works on F16 patches and weights (ggml_conv_2d by way of ggml_im2col), and
its GELU is a table of F16 values between -10 and 10 (ggml_vec_gelu_f32). Without them an exact
comparison of the towers mostly shows these; with them a wrong weight or pixel stands out.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import SmolVLMForConditionalGeneration


@contextmanager
def rounded_as_runtime(model: SmolVLMForConditionalGeneration) -> Iterator[None]:
    """Inside the block the vision tower rounds as llama.cpp's does."""
    tower = model.model.vision_model
    patches = tower.embeddings.patch_embedding
    kept = patches.weight.data
    with ExitStack() as hooks:
        hooks.callback(patches.register_forward_pre_hook(_round_input).remove)
        for layer in tower.encoder.layers:
            gelu = layer.mlp.activation_fn
            hooks.callback(gelu.register_forward_hook(_look_up).remove)
        try:
            patches.weight.data = _rounded(kept)
            yield
        finally:
            patches.weight.data = kept


def _rounded(values: Tensor) -> Tensor:
    return values.to(torch.float16).to(values.dtype)


def _round_input(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (_rounded(inputs[0]), *inputs[1:])


def _look_up(_: nn.Module, inputs: tuple[Any, ...], __: Tensor) -> Tensor:
    """GELU as ggml's table has it; outside of the table it is the value itself, or nothing."""
    values: Tensor = inputs[0]
    inside = _rounded(functional.gelu(_rounded(values), approximate="tanh"))
    return torch.where(values >= 10, values, torch.where(values <= -10, 0, inside))
