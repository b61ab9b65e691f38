"""Tensors of a model folder, one at a time: safetensors, one file or sharded, without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from gguf.utility import LocalTensor, SafetensorsLocal
from numpy.typing import NDArray

from pocketvlm.errors import PocketError
from pocketvlm.workspace import read_json

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}
"""Stored types; numpy knows no bfloat16, whose 16 bits are the upper half of a float32."""

Floats = NDArray[np.floating[Any]]
"""float32 or float16."""


@dataclass(frozen=True)
class Checkpoint:
    """Where each tensor of a model folder lies."""

    folder: Path
    tensors: dict[str, LocalTensor]

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read the headers; PocketError names the file that is missing or broken."""
        tensors: dict[str, LocalTensor] = {}
        for file in _files(folder):
            tensors |= _header(file)
        return cls(folder, tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """PocketError when the checkpoint has no such tensor."""
        if name not in self.tensors:
            raise PocketError(
                f"{self.folder} has no tensor {name}: the checkpoint is incomplete or of another "
                "architecture than its config.json; run `pocketvlm merge` again"
            )
        shape: tuple[int, ...] = self.tensors[name].shape
        return shape

    def read(self, name: str) -> Floats:
        """One tensor as float32, or float16 when stored so; PocketError when not finite."""
        tensor = self.tensors[name]
        raw: NDArray[Any] = tensor.mmap_bytes().view(DTYPES[tensor.dtype]).reshape(tensor.shape)
        if tensor.dtype == "BF16":
            raw = (raw.astype(np.uint32) << 16).view(np.float32)
        if not np.isfinite(raw).all():
            raise PocketError(
                f"{self.folder}: {name} holds values that are not finite: training diverged; train "
                "again with a smaller train.learning_rate"
            )
        return raw


def _files(folder: Path) -> list[Path]:
    if (folder / INDEX).is_file():
        weight_map: dict[str, str] = read_json(folder / INDEX).get("weight_map", {})
        return [folder / name for name in sorted(set(weight_map.values()))]
    return [folder / SINGLE]


def _header(file: Path) -> dict[str, LocalTensor]:
    try:
        with SafetensorsLocal(file) as tensors:
            found: dict[str, LocalTensor] = tensors
    except FileNotFoundError:
        raise PocketError(f"{file} does not exist: run `pocketvlm merge` again") from None
    except (ValueError, KeyError) as error:
        raise PocketError(f"{file} is no safetensors file ({error}): copy it again") from None
    size = file.stat().st_size
    for name, tensor in found.items():
        if tensor.dtype not in DTYPES:
            raise PocketError(
                f"{file}: {name} is stored as {tensor.dtype}, only {', '.join(DTYPES)} can be "
                "converted: save the model unquantised"
            )
        if tensor.data_range.offset + tensor.data_range.size > size:
            raise PocketError(f"{file} is cut short at {name}: copy it again")
    return found
