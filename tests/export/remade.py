"""GGUF files made of others: with keys and tensors changed, cut, or in older forms."""

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGUFValueType
from numpy.typing import NDArray

Data = NDArray[Any]


def remade(
    source: Path,
    out: Path,
    keys: Mapping[str, Any] | None = None,
    *,
    tensors: Callable[[str, Data], Data | None] = lambda _, data: data,
    renamed: Callable[[str], str] = str,
    big_endian: bool = False,
) -> Path:
    """Write `source` again with `keys` (None: without it); `tensors` maps a name
    and its data to other data, or to None; `renamed` a name to another."""
    wanted = dict(keys or {})
    reader = gguf.GGUFReader(source)
    order = gguf.GGUFEndian.BIG if big_endian else gguf.GGUFEndian.LITTLE
    architecture = wanted.pop("general.architecture", None)
    known = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(None, architecture or known, endianess=order)
    for field in reader.fields.values():
        if not field.name.startswith(("GGUF.", "general.architecture")):
            kind, inner = field.types[0], field.types[-1] if len(field.types) > 1 else None
            value = wanted.pop(field.name, field.contents())
            if value is not None:
                writer.add_key_value(field.name, value, kind, inner)
    for name, value in wanted.items():
        if value is not None:
            writer.add_key_value(name, value, GGUFValueType.get_type(value))
    for tensor in reader.tensors:
        data = tensors(tensor.name, np.asarray(tensor.data))
        if data is not None:
            kind = tensor.tensor_type if data.dtype == tensor.data.dtype else None
            writer.add_tensor(renamed(tensor.name), np.ascontiguousarray(data), raw_dtype=kind)
    writer.write_header_to_file(out)
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def spoiled(source: Path, out: Path, at: int, value: bytes) -> Path:
    """A copy with other bytes at one place."""
    data = bytearray(source.read_bytes())
    data[at : at + len(value)] = value
    out.write_bytes(data)
    return out


def text(value: str, length: str = "<Q") -> bytes:
    """A text as GGUF writes it."""
    return struct.pack(length, len(value.encode())) + value.encode()


def version_1(out: Path) -> Path:
    """A file of GGUF's first version: lengths are of 32 bits."""
    head = struct.pack("<4sIII", b"GGUF", 1, 1, 1)
    key = text("general.architecture", "<I") + struct.pack("<I", 8) + text("llama", "<I")
    info = text("x", "<I") + struct.pack("<IIIIQ", 2, 2, 3, 0, 0)
    body = head + key + info
    out.write_bytes(body + bytes(-len(body) % 32) + np.arange(6, dtype="<f4").tobytes())
    return out
