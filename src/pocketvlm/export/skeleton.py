"""A throw-away pair of files: a student's tokenizer and vision sizes, and next to no weights.

llama.cpp lays a picture out by tokenizer, patch, scale and side alone, so such a pair tells what
the student will be asked before it is trained, in a second.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self
from zlib import crc32

import numpy as np

from pocketvlm.export.about import About
from pocketvlm.export.architecture import Architecture
from pocketvlm.export.checkpoint import Checkpoint, Floats
from pocketvlm.export.text import draft_text_of, text_tensors
from pocketvlm.export.vision import draft_vision_of, vision_tensors
from pocketvlm.export.writer import Tensor

WIDTH = 32
"""Of both halves, with one layer and two heads: the smallest that fills a block of Q8_0."""


@dataclass(frozen=True)
class Noise(Checkpoint):
    """Weights that lie nowhere: small random numbers, the same for a name each time."""

    shapes: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> Self:
        """Weights for these tensors."""
        return cls(
            Path(), {}, {tensor.source: tensor.source_shape or tensor.shape for tensor in tensors}
        )

    def shape(self, name: str) -> tuple[int, ...]:
        """What was asked for."""
        return self.shapes[name]

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Floats:
        """Normal, with a deviation of 0.1."""
        random = np.random.default_rng(crc32(name.encode()))
        whole = (0.1 * random.standard_normal(self.shapes[name])).astype(np.float32)
        return whole[start:stop]


def export_skeleton(model: Path, folder: Path, vision_size: int) -> tuple[Path, Path]:
    """Write `folder`/model.gguf and mmproj.gguf for the tokenizer and config.json of `model`.

    ConfigError or PocketError as the export of the model itself would raise them."""
    architecture = shrunk(Architecture.read(model), vision_size)
    text, vision = folder / "model.gguf", folder / "mmproj.gguf"
    weights = Noise.of(text_tensors(architecture.text))
    draft_text_of(model, architecture, weights, "F32", About()).write(text)
    weights = Noise.of(vision_tensors(architecture.vision, WIDTH, vision_size))
    draft_vision_of(architecture, weights, "F32", vision_size, About()).write(vision)
    return text, vision


def shrunk(architecture: Architecture, vision_size: int) -> Architecture:
    """The same tokens, patches and scale, with one narrow layer in each half."""
    text = replace(
        architecture.text,
        layers=1,
        width=WIDTH,
        feed_forward=WIDTH,
        heads=2,
        key_value_heads=2,
        head_width=WIDTH // 2,
    )
    vision = replace(
        architecture.vision,
        side=vision_size,
        layers=1,
        width=WIDTH,
        feed_forward=WIDTH,
        heads=2,
    )
    return Architecture(text, vision, tied=True)
