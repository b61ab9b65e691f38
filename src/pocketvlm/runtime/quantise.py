"""Smaller text files, by the quantiser of the llama.cpp that runs them."""

import ctypes
import re
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama

from pocketvlm.errors import PocketError
from pocketvlm.runtime.loading import _keep_errors, cores, reasons

FILE_TYPES = {
    "Q5_0": llama.LLAMA_FTYPE_MOSTLY_Q5_0,
    "Q4_0": llama.LLAMA_FTYPE_MOSTLY_Q4_0,
    "Q4_K_M": llama.LLAMA_FTYPE_MOSTLY_Q4_K_M,
}

BUFFER = 32 * 2**20
"""Bytes of float32 rows that it holds at once; its own limit is 8 GiB, and it is no slower."""

SAID = re.compile(r"\] (\S+)\s+- \[[^\]]*\], type =\s+(\w+),\s+size =[^(\n]*(?:\((\w+)\))?")
"""What it prints of each tensor when it only plans: name, type, and the type that it will have if
that is another (llama-quant.cpp, llama_model_quantize_impl)."""


def quantise(source: Path, out: Path, type: str) -> None:
    """Write the F16 or F32 text file `source` to `out` as a type of `FILE_TYPES`, all keys kept but
    those that name the type. Not atomic: `out` is written piece by piece.

    PocketError with llama.cpp's own reason when it fails."""
    _run(source, out, type, dry=False)


def planned_types(source: Path, type: str) -> dict[str, str]:
    """How each tensor would be stored, in gguf's spelling, without a weight read or written: where
    they lie in `source` may be a hole.

    PocketError with llama.cpp's own reason when it cannot be done."""
    lines: list[str] = []

    @llama.llama_log_callback  # type: ignore[untyped-decorator]
    def keep(level: int, text: bytes, _: Any) -> None:
        lines.append(text.decode("utf-8", errors="replace"))
        _keep_errors(level, text, _)

    llama.llama_log_set(keep, ctypes.c_void_p(0))
    try:
        _run(source, source, type, dry=True)
    finally:
        llama.llama_log_set(_keep_errors, ctypes.c_void_p(0))
    found = SAID.findall("".join(lines))
    return {name: (planned or present).upper() for name, present, planned in found}


def _run(source: Path, out: Path, type: str, dry: bool) -> None:
    settings = llama.llama_model_quantize_default_params()
    settings.ftype, settings.dry_run = FILE_TYPES[type], dry
    settings.nthread, settings.max_buf_size = cores(), BUFFER
    names = str(source).encode(), str(out).encode()
    with reasons() as why:
        if llama.llama_model_quantize(*names, ctypes.byref(settings)):
            raise PocketError(
                f"llama.cpp's quantiser could not make {type} of {source} ({'; '.join(why)}): look "
                "whether the disk is full, and convert it again"
            )
