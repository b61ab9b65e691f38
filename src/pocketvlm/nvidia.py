"""What NVIDIA's driver says of its cards, through NVML: no torch, which takes seconds to load."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pynvml


@dataclass(frozen=True)
class Card:
    """One GPU. Bytes; `percent` is how busy it is, None where it cannot tell."""

    name: str
    memory: int
    free: int
    percent: int | None = None


@dataclass(frozen=True)
class Driver:
    """NVIDIA's driver and its cards."""

    version: str
    cuda: int
    """Major number of the newest CUDA that it runs."""
    cards: tuple[Card, ...]


def read_driver() -> Driver | None:
    """What NVML says; None where there is no driver or no card."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        cards = tuple(map(_card, handles))
        cuda = pynvml.nvmlSystemGetCudaDriverVersion_v2() // 1000
        return Driver(pynvml.nvmlSystemGetDriverVersion(), cuda, cards) if cards else None
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def _card(handle: object) -> Card:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    busy = _if_told(pynvml.nvmlDeviceGetUtilizationRates, handle)
    name = pynvml.nvmlDeviceGetName(handle)
    return Card(name, memory.total, memory.free, None if busy is None else busy.gpu)


def _if_told(ask: Callable[[object], Any], handle: object) -> Any:
    try:
        return ask(handle)
    except pynvml.NVMLError:  # not every card and driver tells it
        return None
