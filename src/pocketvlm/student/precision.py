"""Where the student trains, and in which numbers."""

import os
import sys
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

CGROUP = Path("/sys/fs/cgroup")


class Precision(NamedTuple):
    """The numbers of the frozen weights, and why; adapters are always float32."""

    dtype: torch.dtype
    why: str

    @property
    def scaled(self) -> bool:
        """Whether the loss is scaled: float16 reaches down to 6e-8 only."""
        return self.dtype == torch.float16


def device() -> torch.device:
    """This process's GPU, Apple's, or the processor."""
    if torch.cuda.is_available():
        # A scheduler may show each process its own GPU only.
        place = int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count()
        return torch.device("cuda", place)
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def precision() -> Precision:
    """bfloat16 where the hardware multiplies whole tiles of it; float16 on GPUs before that.

    On a processor that has bfloat16 vectors but no AMX tiles, oneDNN's bfloat16 takes 1.6 to 1.9
    times as long as float32."""
    where = device().type
    if where == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision(torch.bfloat16, "this GPU multiplies it")
        return Precision(torch.float16, "this GPU has no bfloat16")
    if where == "mps":
        return Precision(torch.float32, "the one that is the same on every Apple GPU")
    if torch.cpu._is_amx_tile_supported():
        return Precision(torch.bfloat16, "this processor has AMX tiles")
    return Precision(torch.float32, "this processor has no AMX tiles for bfloat16")


def free_memory() -> int:
    """Bytes that this process's device has left."""
    if torch.cuda.is_available():
        kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return int(torch.cuda.mem_get_info()[0] + kept)
    return min(int(psutil.virtual_memory().available), _allowed())


def _allowed() -> int:
    """What a container may still take (Linux, cgroup v2): beyond it the kernel kills."""
    try:
        most = (CGROUP / "memory.max").read_text().strip()
        used = (CGROUP / "memory.current").read_text().strip()
    except OSError:
        return sys.maxsize
    return max(0, int(most) - int(used)) if most != "max" else sys.maxsize
