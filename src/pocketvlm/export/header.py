"""The head of a GGUF file: its keys and what its tensors are, with every length checked.

gguf's own reader takes lengths on trust: a damaged array fills the memory, other damage raises
whatever numpy does, and a real vocabulary takes it seconds. So files from outside are read here.
The format: ggml/docs/gguf.md.
"""

import struct
from collections import Counter
from dataclasses import dataclass
from math import prod
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType
from numpy.typing import NDArray

from pocketvlm.errors import PocketError

MAGIC = b"GGUF"
VERSIONS = (1, 2, 3)
DIMENSIONS = 4
"""GGML_MAX_DIMS (ggml.h)."""
ALIGNMENT = 32
"""Of the tensors' data, where the key general.alignment says nothing else."""
MOST = 2**24
"""Texts in one array: no vocabulary has as many."""

SCALARS = {
    GGUFValueType.UINT8: "u1",
    GGUFValueType.INT8: "i1",
    GGUFValueType.UINT16: "u2",
    GGUFValueType.INT16: "i2",
    GGUFValueType.UINT32: "u4",
    GGUFValueType.INT32: "i4",
    GGUFValueType.FLOAT32: "f4",
    GGUFValueType.BOOL: "?",
    GGUFValueType.UINT64: "u8",
    GGUFValueType.INT64: "i8",
    GGUFValueType.FLOAT64: "f8",
}

Value = str | int | float | bool | list[str] | NDArray[Any]


class Damaged(Exception):
    """What is wrong, without the file's name."""


@dataclass(frozen=True)
class StoredTensor:
    """One tensor as it lies in the file."""

    name: str
    shape: tuple[int, ...]
    """Innermost dimension (a row's length) first, as in the file."""
    type: GGMLQuantizationType
    offset: int
    """Bytes after the start of the data."""

    @property
    def parameters(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes these take."""
        block, size = GGML_QUANT_SIZES[self.type]
        return int(self.parameters // block * size)


@dataclass(frozen=True)
class Header:
    """What a GGUF file says of itself."""

    version: int
    big_endian: bool
    keys: dict[str, Value]
    kinds: dict[str, GGUFValueType]
    tensors: dict[str, StoredTensor]

    def whole(self, key: str) -> int | None:
        """A number without fraction; None when the key is missing or of another kind."""
        value = self.keys.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def text(self, key: str) -> str | None:
        """A text; None when the key is missing or of another kind."""
        value = self.keys.get(key)
        return value if isinstance(value, str) else None

    def texts(self, key: str) -> list[str]:
        """A list of texts; empty when the key is missing or of another kind."""
        value = self.keys.get(key)
        return value if isinstance(value, list) else []

    @property
    def architecture(self) -> str:
        """llama.cpp's name of it, `?` when it has none."""
        return self.text("general.architecture") or "?"

    @property
    def parts(self) -> int:
        """Of how many files a split model consists (1: not split)."""
        return self.whole("split.count") or 1


def read_header(path: Path) -> Header:
    """Read the head of a GGUF file of version 1 to 3, of either byte order.

    PocketError names the file and what is wrong: missing, a folder, no GGUF file, cut short,
    damaged, or without a tensor (the parts of a split model may have none)."""
    if path.is_dir():
        raise PocketError(f"{path} is a folder: name a GGUF file")
    if not path.exists():
        raise PocketError(f"{path} does not exist: check the path")
    if not path.is_file():
        raise PocketError(f"{path} is no file: name a GGUF file")
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise PocketError(f"{path} is no GGUF file: convert or download it again")
        data = mmap(file.fileno(), 0, access=ACCESS_READ)
    try:
        return _Bytes(data).header()
    except Damaged as damage:  # its names may be any bytes
        what = "".join(letter if letter.isprintable() else "?" for letter in str(damage))
        raise PocketError(f"{path} is damaged ({what}): convert or download it again") from None


class _Bytes:
    """The file's bytes and how far they have been read."""

    def __init__(self, data: mmap) -> None:
        self.data, self.at = data, len(MAGIC)
        self.order, self.length = "<", "u8"
        self.inside = "its first bytes"
        self.kinds: dict[str, GGUFValueType] = {}

    def header(self) -> Header:
        version = self._version()
        self.length = "u4" if version == 1 else "u8"
        tensors, keys = self._whole(self.length), self._whole(self.length)
        values = self._keys(keys)
        found = self._tensors(tensors)
        by_name = {one.name: one for one in found}
        header = Header(version, self.order == ">", values, self.kinds, by_name)
        if not found and header.parts == 1:
            raise Damaged("it has no tensor")
        self._check_data(found, header)
        return header

    def _version(self) -> int:
        version = self._whole("u4")
        if version & 0xFFFF == 0:  # the other byte order
            version, self.order = int.from_bytes(version.to_bytes(4, "little"), "big"), ">"
        if version not in VERSIONS:
            raise Damaged(f"version {version} of GGUF, 1 to 3 are known")
        return version

    def _keys(self, count: int) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for number in range(count):
            self.inside = f"key {number + 1} of {count:,}"
            name = self._text()
            if name in values:
                raise Damaged(f"the key {name} is there twice")
            self.inside = f"the key {name[:80]}"
            self.kinds[name] = self._kind()
            values[name] = self._value(self.kinds[name])
        return values

    def _kind(self) -> GGUFValueType:
        number = self._whole("u4")
        if number not in list(GGUFValueType):
            raise Damaged(f"{self.inside} is of the unknown kind {number}")
        return GGUFValueType(number)

    def _value(self, kind: GGUFValueType) -> Value:
        if kind == GGUFValueType.STRING:
            return self._text()
        if kind != GGUFValueType.ARRAY:
            scalar: Value = self._numbers(SCALARS[kind], 1)[0].item()
            return scalar
        inner, count = self._kind(), self._whole(self.length)
        if inner == GGUFValueType.ARRAY:
            raise Damaged(f"{self.inside} is a list of lists, which llama.cpp does not read")
        if inner != GGUFValueType.STRING:
            return self._numbers(SCALARS[inner], count)
        if count > MOST:
            raise Damaged(f"{self.inside} has {count:,} texts")
        return [self._raw().decode(errors="replace") for _ in range(count)]

    def _tensors(self, count: int) -> list[StoredTensor]:
        tensors = []
        for number in range(count):
            self.inside = f"tensor {number + 1} of {count:,}"
            name, dimensions = self._text(), self._whole("u4")
            if dimensions > DIMENSIONS:
                raise Damaged(f"{self.inside} has {dimensions} dimensions")
            shape = tuple(map(int, self._numbers(self.length, dimensions)))
            type = self._stored_type(name, self._whole("u4"))
            if (block := GGML_QUANT_SIZES[type][0]) > 1 and (not shape or shape[0] % block):
                raise Damaged(f"{name} is {type.name}, but its rows do not divide into {block}")
            tensors.append(StoredTensor(name, shape, type, self._whole("u8")))
        names = Counter(tensor.name for tensor in tensors)
        if twice := [name for name, times in names.items() if times > 1]:
            raise Damaged(f"the tensor {twice[0]} is there twice")
        return tensors

    def _stored_type(self, name: str, number: int) -> GGMLQuantizationType:
        if number not in list(GGMLQuantizationType):
            raise Damaged(
                f"{name} is stored as type {number}, which the gguf library does not know"
            )
        return GGMLQuantizationType(number)

    def _check_data(self, tensors: list[StoredTensor], header: Header) -> None:
        alignment = header.whole("general.alignment") or ALIGNMENT
        if alignment < 1 or alignment & (alignment - 1):
            raise Damaged(f"general.alignment is {alignment}, no power of two")
        start = -(-self.at // alignment) * alignment
        for tensor in tensors:
            missing = start + tensor.offset + tensor.nbytes - len(self.data)
            if missing > 0:
                raise Damaged(f"cut short: {tensor.name} ends {missing:,} bytes after the file")

    def _numbers(self, kind: str, count: int) -> NDArray[Any]:
        """A view of the file: a list as long as the file costs nothing."""
        dtype = np.dtype(self.order + kind)
        size = count * dtype.itemsize
        if self.at + size > len(self.data):
            raise Damaged(f"cut short in {self.inside}")
        found: NDArray[Any] = np.frombuffer(self.data, dtype, count, self.at)
        self.at += size
        return found

    def _whole(self, kind: str) -> int:
        letter = {"u4": "I", "u8": "Q"}[kind]
        try:
            (found,) = struct.unpack_from(self.order + letter, self.data, self.at)
        except struct.error:
            raise Damaged(f"cut short in {self.inside}") from None
        self.at += struct.calcsize(letter)
        return int(found)

    def _text(self) -> str:
        """A name, or a text on its own; gguf's reader cannot read others."""
        try:
            return self._raw().decode()
        except UnicodeDecodeError:
            raise Damaged(f"{self.inside} is no UTF-8") from None

    def _raw(self) -> bytes:
        size = self._whole(self.length)
        if self.at + size > len(self.data):
            raise Damaged(f"cut short in {self.inside}")
        raw = self.data[self.at : self.at + size]
        self.at += size
        return raw
