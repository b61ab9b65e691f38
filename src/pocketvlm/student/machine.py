"""What a training takes of the machine: memory, and how busy the GPU is."""

import time

import psutil
import torch
from pynvml import NVMLError

INTERVAL = 10.0
"""Seconds between two measurements: steps may be shorter than asking the GPU's driver."""

MIB = 1 << 20


class Machine:
    """Figures of this process and its GPU, measured rarely."""

    def __init__(self) -> None:
        self.process = psutil.Process()
        self.gpu = torch.cuda.is_available()
        self.next = 0.0

    def figures(self) -> dict[str, float]:
        """Resident and GPU memory in MiB, GPU use in percent; nothing where the last measurement
        is younger than `INTERVAL`, and nothing of a GPU where there is none."""
        if time.monotonic() < self.next:
            return {}
        self.next = time.monotonic() + INTERVAL
        return {"machine/memory_mib": self.process.memory_info().rss / MIB} | self._gpu()

    def _gpu(self) -> dict[str, float]:
        """Of the device that this process trains on, through the driver (NVML), whoever uses it."""
        if not self.gpu:
            return {}
        try:
            used, busy = torch.cuda.device_memory_used(), torch.cuda.utilization()
        except (NVMLError, RuntimeError, ImportError, AssertionError):  # a driver that cannot tell
            self.gpu = False
            return {}
        return {"machine/gpu_memory_mib": used / MIB, "machine/gpu_percent": float(busy)}
