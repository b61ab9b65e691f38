"""How large a student is, by its config.json alone: parameters, files, adapter, features."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Self

from pocketvlm.errors import ConfigError
from pocketvlm.export.architecture import Architecture
from pocketvlm.export.text import text_tensors
from pocketvlm.export.vision import vision_tensors
from pocketvlm.export.writer import FILE_TYPES, Tensor, stored_size
from pocketvlm.sections import Train

QUANTISED = {"Q5_0": 6.1, "Q4_0": 5.3, "Q4_K_M": 6.1}
"""Bits a parameter of the types that llama.cpp's quantiser makes, of the 256M, whose embeddings are
a larger share than the 500M's (docs/decisions.md, "What each type is at full size")."""

VOCABULARY = 3
"""What a text file carries of tokenizer.json takes about a third of it."""


@dataclass(frozen=True)
class StudentSizes:
    """Everything that follows from the widths of a SmolVLM. Bytes, unless a name says otherwise."""

    architecture: Architecture
    side: int
    """Of the tower that is exported, pixels."""
    tokenizer: int
    """Of tokenizer.json."""

    @classmethod
    def read(cls, model: Path, side: int) -> Self:
        """From a model's folder; PocketError for another architecture, ConfigError for a side that
        its patches do not fill."""
        architecture, tokens = Architecture.read(model), model / "tokenizer.json"
        step = architecture.vision.patch * architecture.vision.scale
        if side % step:
            near = max(step, round(side / step) * step)
            raise ConfigError(f"device.side: {side} is no multiple of {step}: use {near}")
        return cls(architecture, side, tokens.stat().st_size if tokens.is_file() else 0)

    @property
    def text(self) -> list[Tensor]:
        """The language model's tensors, an output matrix of its own with them."""
        tensors = text_tensors(self.architecture.text)
        if not self.architecture.tied:
            sizes = self.architecture.text
            tensors.append(Tensor("output.weight", "", (sizes.vocabulary, sizes.width)))
        return tensors

    @property
    def vision(self) -> list[Tensor]:
        """Tower and projector as they are exported."""
        sizes = self.architecture
        return vision_tensors(sizes.vision, sizes.text.width, self.side)

    @property
    def parameters(self) -> int:
        """Numbers in the checkpoint, whose tower has all its position embeddings."""
        vision = (tensor.source_shape or tensor.shape for tensor in self.vision)
        return count(self.text) + sum(prod(shape) for shape in vision)

    @property
    def layers(self) -> int:
        """Numbers in the language model's layers: what a step of training multiplies by."""
        return count(tensor for tensor in self.text if tensor.name.startswith("blk."))

    def text_file(self, type: str) -> int:
        """Of a text file of that type."""
        vocabulary = self.tokenizer // VOCABULARY
        if type in FILE_TYPES:
            return stored(self.text, type) + vocabulary
        return int(count(self.text) * QUANTISED[type] / 8) + vocabulary

    def vision_file(self, type: str) -> int:
        """Of a vision file of that type."""
        return stored(self.vision, type)

    def adapter(self, train: Train) -> int:
        """Numbers that LoRA learns: rank x (rows + columns) of each matrix that it adapts."""
        adapted = [one for one in self.text if one.name.startswith("blk.")]
        if train.vision != "frozen":
            adapted += [one for one in self.vision if one.name.startswith("mm.")]
        if train.vision == "lora":
            adapted += [one for one in self.vision if one.name.startswith("v.blk.")]
        return train.rank * sum(sum(one.shape) for one in adapted if len(one.shape) == 2)

    def kept(self, train: Train) -> int:
        """Numbers that are kept on the disk of one picture, 0 where nothing is."""
        vision, width = self.architecture.vision, self.architecture.text.width
        patches = (self.side // vision.patch) ** 2
        if train.vision == "lora" or not train.cache:
            return 0
        if train.vision == "connector":
            return patches * vision.width
        return patches // vision.scale**2 * width


def count(tensors: Iterable[Tensor]) -> int:
    """Parameters of some tensors."""
    return sum(tensor.parameters for tensor in tensors)


def stored(tensors: Iterable[Tensor], type: str) -> int:
    """Bytes of some tensors in a file of that type."""
    return sum(stored_size(tensor, tensor.stored_as(type)) for tensor in tensors)
