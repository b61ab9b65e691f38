"""Writes a GGUF file tensor by tensor, with llama.cpp's own rules for what is stored how.

The rules are those of `convert_hf_to_gguf.py` (conversion/base.py `prepare_tensors`, conversion/
smolvlm.py `tensor_force_quant`): vectors, norms, patch and position embeddings stay float32; what
does not divide into blocks falls back to F16.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType

from pocketvlm.contract import GGUF_KEY
from pocketvlm.errors import PocketError
from pocketvlm.export.checkpoint import Checkpoint, Floats
from pocketvlm.progress import bar
from pocketvlm.workspace import atomic_file

FILE_TYPES = {
    "F32": LlamaFileType.ALL_F32,
    "F16": LlamaFileType.MOSTLY_F16,
    "Q8_0": LlamaFileType.MOSTLY_Q8_0,
}

ALWAYS_F32 = ("_norm.weight", "v.patch_embd.weight", "v.position_embd.weight")
"""Ends of the names of matrices that llama.cpp wants in float32; vectors always are."""

NAME = "PocketVLM"

SOON = 32 * 2**20
"""Bytes of a file that is written before a bar could be read."""


def _as_stored(tensor: Floats) -> Floats:
    return tensor


@dataclass(frozen=True)
class Tensor:
    """One tensor of the file: its name, the checkpoint's name and shape, and what is done to it.

    `shape` is the shape in the file, outermost dimension first; `source_shape` the checkpoint's
    when it differs."""

    name: str
    source: str
    shape: tuple[int, ...]
    change: Callable[[Floats], Floats] = _as_stored
    source_shape: tuple[int, ...] | None = None

    def stored_as(self, type: str) -> GGMLQuantizationType:
        """How it lies in a file of that type."""
        if len(self.shape) == 1 or self.name.endswith(ALWAYS_F32):
            return GGMLQuantizationType.F32
        wanted = GGMLQuantizationType[type]
        block, _ = gguf.GGML_QUANT_SIZES[wanted]
        return wanted if self.shape[-1] % block == 0 else GGMLQuantizationType.F16


def write(
    out: Path,
    writer: GGUFWriter,
    tensors: Sequence[Tensor],
    checkpoint: Checkpoint,
    prefixes: tuple[str, ...],
    type: str,
    contract: str,
) -> list[str]:
    """Write keys and tensors to `out`, atomically; returns the names that fell back to F16.

    `writer` holds the model's own keys. PocketError before anything is written when a tensor is
    missing, has another shape than config.json says, or lies below `prefixes` and would be lost."""
    _check_nothing_lost(tensors, checkpoint, prefixes)
    total = 0
    for tensor in tensors:
        _check(tensor, checkpoint)
        kind = tensor.stored_as(type)
        block, size = gguf.GGML_QUANT_SIZES[kind]
        nbytes = prod(tensor.shape) // block * size
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), nbytes, kind)
        total += nbytes
    _add_general_keys(writer, type)
    if contract:
        writer.add_string(GGUF_KEY, contract)
    with atomic_file(out) as partial, bar(out.name, len(tensors), total > SOON) as advance:
        try:
            writer.write_header_to_file(partial)
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for tensor in tensors:
                data = tensor.change(checkpoint.read(tensor.source))
                writer.write_tensor_data(gguf.quants.quantize(data, tensor.stored_as(type)))
                advance("")
        finally:
            writer.close()
    wanted = (GGMLQuantizationType[type], GGMLQuantizationType.F32)
    return [tensor.name for tensor in tensors if tensor.stored_as(type) not in wanted]


def _check(tensor: Tensor, checkpoint: Checkpoint) -> None:
    found, wanted = checkpoint.shape(tensor.source), tensor.source_shape or tensor.shape
    if found != wanted:
        raise PocketError(
            f"{checkpoint.folder}: {tensor.source} has the shape {found}, config.json says "
            f"{wanted}: use the config.json that belongs to the weights"
        )


def _check_nothing_lost(
    tensors: Sequence[Tensor], checkpoint: Checkpoint, prefixes: tuple[str, ...]
) -> None:
    known = {tensor.source for tensor in tensors}
    for name in checkpoint.tensors:
        if name.startswith(prefixes) and name not in known:
            raise PocketError(
                f"{checkpoint.folder} has the tensor {name}, which no SmolVLM has: merge adapters "
                "into the weights, or choose a SmolVLM or SmolVLM2 as base"
            )


def _add_general_keys(writer: GGUFWriter, type: str) -> None:
    writer.add_name(NAME)
    writer.add_size_label(gguf.size_label(*writer.get_total_parameter_count()))
    writer.add_file_type(FILE_TYPES[type])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
