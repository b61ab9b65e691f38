"""Writes a GGUF file piece by piece, with llama.cpp's own rules for what is stored how.

The rules are those of `convert_hf_to_gguf.py` (conversion/base.py `prepare_tensors`, conversion/
smolvlm.py `tensor_force_quant`): vectors, norms, patch and position embeddings stay float32; what
does not divide into blocks falls back to F16.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import gguf
import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType
from numpy.typing import NDArray

from pocketvlm.errors import PocketError
from pocketvlm.export.about import About
from pocketvlm.export.checkpoint import Checkpoint, Floats
from pocketvlm.parallel import in_order
from pocketvlm.progress import bar
from pocketvlm.workspace import atomic_file

FILE_TYPES = {
    "F32": LlamaFileType.ALL_F32,
    "F16": LlamaFileType.MOSTLY_F16,
    "Q8_0": LlamaFileType.MOSTLY_Q8_0,
}
"""What is written here; the runtime's quantiser makes the others."""

ALWAYS_F32 = ("_norm.weight", "v.patch_embd.weight", "v.position_embd.weight")
"""Ends of the names of matrices that llama.cpp wants in float32; vectors always are."""

PIECE = 2**18
"""Numbers that a core works on at once: 1 MiB of float32, which stays in its cache."""

MIB = 2**20

SOON = 32
"""MiB of a file that is written before a bar could be read."""


def _as_stored(tensor: Floats) -> Floats:
    return tensor


@dataclass(frozen=True)
class Tensor:
    """One tensor of the file: its name, the checkpoint's name and shape, and what is done to it.

    `shape` is the shape in the file, outermost dimension first; `source_shape` the checkpoint's
    when it differs. `change` works on any multiple of `together` rows of the same shape; on all of
    them when the shapes differ."""

    name: str
    source: str
    shape: tuple[int, ...]
    change: Callable[[Floats], Floats] = _as_stored
    source_shape: tuple[int, ...] | None = None
    together: int = 1

    @property
    def is_matrix(self) -> bool:
        """Whether a file's type is about it."""
        return len(self.shape) > 1 and not self.name.endswith(ALWAYS_F32)

    @property
    def parameters(self) -> int:
        """Numbers in the file."""
        return prod(self.shape)

    def stored_as(self, type: str) -> GGMLQuantizationType:
        """How it lies in a file of that type."""
        if not self.is_matrix:
            return GGMLQuantizationType.F32
        wanted = GGMLQuantizationType[type]
        block, _ = gguf.GGML_QUANT_SIZES[wanted]
        return wanted if self.shape[-1] % block == 0 else GGMLQuantizationType.F16

    def pieces(self) -> Iterator[tuple[int, int]]:
        """First row of the checkpoint's tensor, and first row of the next piece."""
        if self.source_shape:
            yield 0, self.source_shape[0]
            return
        rows = PIECE // prod(self.shape[1:]) // self.together * self.together or self.together
        for start in range(0, self.shape[0], rows):
            yield start, min(start + rows, self.shape[0])


def stored_size(tensor: Tensor, kind: GGMLQuantizationType) -> int:
    """Bytes in a file, with the padding behind them."""
    return _padded(_nbytes(tensor, kind))


def _nbytes(tensor: Tensor, kind: GGMLQuantizationType) -> int:
    block, size = gguf.GGML_QUANT_SIZES[kind]
    return tensor.parameters // int(block) * int(size)


@dataclass(frozen=True)
class Draft:
    """A file of which only the weights are not written yet."""

    head: bytes
    """Keys and what the tensors are, padded to where the first one begins."""
    tensors: Sequence[Tensor]
    checkpoint: Checkpoint
    type: str

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        weights = (stored_size(one, one.stored_as(self.type)) for one in self.tensors)
        return len(self.head) + sum(weights)

    @property
    def kept(self) -> list[str]:
        """Names of the matrices that fall back to F16."""
        wanted = GGMLQuantizationType[self.type], GGMLQuantizationType.F32
        return [one.name for one in self.tensors if one.stored_as(self.type) not in wanted]

    def write(self, out: Path) -> list[str]:
        """Write the file, atomically, by all cores; returns the names that fell back to F16.
        PocketError when a weight is not finite."""
        pieces = ((tensor, *rows) for tensor in self.tensors for rows in tensor.pieces())
        with (
            atomic_file(out) as partial,
            partial.open("wb") as file,
            written(out.name, self.size) as advance,
            closing(in_order(self._made, pieces)) as made,
        ):
            file.write(self.head)
            for (tensor, _, stop), data in made:
                file.write(data)
                if stop == (tensor.source_shape or tensor.shape)[0]:
                    file.write(bytes(_padded(file.tell()) - file.tell()))
                advance(file.tell())
        return self.kept

    def hollow(self, out: Path) -> None:
        """Write the head alone, and a hole in the weights' place that takes no room."""
        with out.open("wb") as file:
            file.write(self.head)
            file.truncate(self.size)

    def _made(self, piece: tuple[Tensor, int, int]) -> memoryview:
        tensor, start, stop = piece
        rows = tensor.change(self.checkpoint.read(tensor.source, start, stop))
        return quantised(rows, tensor.stored_as(self.type)).data


def quantised(rows: Floats, kind: GGMLQuantizationType) -> NDArray[np.generic]:
    """By gguf's own arithmetic. Its `quantize` takes Q8_0 16 rows at a time, so that two threads
    mostly wait for Python's lock: 0.5 GB/s, against 0.9 so."""
    if kind == GGMLQuantizationType.Q8_0:
        return np.ascontiguousarray(gguf.quants.Q8_0.quantize_rows(rows))
    return np.ascontiguousarray(gguf.quants.quantize(rows, kind))


@contextmanager
def written(name: str, size: int) -> Iterator[Callable[[int], None]]:
    """A bar of MiB for a file of `size` bytes; the value is told how many there are."""
    shown = 0
    with bar(f"{name}, MiB", size // MIB, size // MIB > SOON) as advance:

        def reach(done: int) -> None:
            nonlocal shown
            while shown < min(done, size) // MIB:
                advance("")
                shown += 1

        yield reach


def draft(
    writer: GGUFWriter,
    tensors: Sequence[Tensor],
    checkpoint: Checkpoint,
    prefixes: tuple[str, ...],
    type: str,
    about: About,
) -> Draft:
    """All of a file but its weights; `writer` holds the model's own keys.

    PocketError when a tensor is missing, has another shape than config.json says, or lies below
    `prefixes` and would be lost."""
    _check_nothing_lost(tensors, checkpoint, prefixes)
    for tensor in tensors:
        _check(tensor, checkpoint)
        kind = tensor.stored_as(type)
        nbytes = _nbytes(tensor, kind)
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), nbytes, kind)
    about.add_to(writer)
    writer.add_size_label(gguf.size_label(*writer.get_total_parameter_count()))
    writer.add_file_type(FILE_TYPES[type])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    return Draft(_head(writer), tensors, checkpoint, type)


def _head(writer: GGUFWriter) -> bytes:
    with TemporaryDirectory() as folder:  # GGUFWriter writes to files only
        path = Path(folder) / "head.gguf"
        writer.write_header_to_file(path)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        writer.close()
        head = path.read_bytes()
    return head.ljust(_padded(len(head)), b"\0")


def _padded(size: int) -> int:
    return int(GGUFWriter.ggml_pad(size, gguf.GGUF_DEFAULT_ALIGNMENT))


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
