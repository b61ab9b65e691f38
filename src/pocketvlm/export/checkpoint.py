"""Tensors of a model folder, one at a time: safetensors, one file or sharded, without torch."""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Self

import numpy as np
from gguf.utility import LocalTensor, SafetensorsLocal
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from pocketvlm.errors import PocketError
from pocketvlm.layout import shortened
from pocketvlm.workspace import read_record

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

CUT = "not fully covered"
"""How safetensors says that the file ends elsewhere than its head says."""

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
        if not (folder / INDEX).is_file():
            return cls(folder, _header(folder / SINGLE))
        tensors: dict[str, LocalTensor] = {}
        for shard, names in _shards(folder / INDEX).items():
            found = _header(folder / shard)
            if missing := [name for name in names if name not in found]:
                raise PocketError(
                    f"{folder / INDEX} names the tensor {missing[0]}, and {shard} has none: "
                    "run `pocketvlm merge` again"
                )
            tensors |= found
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

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Floats:
        """Rows `start` to before `stop` of a tensor, all without, as float32, or float16 when
        stored so; PocketError when not finite. Read, not mapped: mapped pages stay in memory."""
        tensor = self.tensors[name]
        rows = range(*slice(start, stop).indices(tensor.shape[0]))
        row, dtype = prod(tensor.shape[1:]), DTYPES[tensor.dtype]
        raw: NDArray[Any] = np.fromfile(
            tensor.data_range.filename,
            dtype,
            len(rows) * row,
            offset=tensor.data_range.offset + rows.start * row * dtype.itemsize,
        ).reshape(len(rows), *tensor.shape[1:])
        if tensor.dtype == "BF16":
            raw = (raw.astype(np.uint32) << 16).view(np.float32)
        if not np.isfinite(raw).all():
            raise PocketError(
                f"{self.folder}: {name} holds values that are not finite: training diverged; train "
                "again with a smaller train.learning_rate"
            )
        return raw


def _shards(index: Path) -> dict[str, list[str]]:
    """Each file of an index, with the names of its tensors."""
    weight_map = read_record(index).get("weight_map")
    shards: dict[str, list[str]] = {}
    for name, file in weight_map.items() if isinstance(weight_map, dict) else ():
        if not isinstance(file, str) or Path(file).name != file:
            raise PocketError(f"{index}: {name} lies in {file!r}, which is no file beside it")
        shards.setdefault(file, []).append(name)
    if not shards:
        raise PocketError(f"{index} has no weight_map: run `pocketvlm merge` again")
    return dict(sorted(shards.items()))


def _header(file: Path) -> dict[str, LocalTensor]:
    try:
        with safe_open(file, "numpy"):  # proves the head, which is then read for where they lie
            pass
        with SafetensorsLocal(file) as tensors:
            found: dict[str, LocalTensor] = tensors
    except FileNotFoundError:
        raise PocketError(f"{file} does not exist: run `pocketvlm merge` again") from None
    except SafetensorError as error:
        if CUT in str(error):
            size = file.stat().st_size
            raise PocketError(f"{file} is cut short at byte {size:,}: copy it again") from None
        why = shortened(str(error), 200)
        raise PocketError(f"{file} is no safetensors file ({why}): copy it again") from None
    for name, tensor in found.items():
        if tensor.dtype not in DTYPES:
            raise PocketError(
                f"{file}: {name} is stored as {tensor.dtype}, only {', '.join(DTYPES)} can be "
                "converted: save the model unquantised"
            )
    return found
