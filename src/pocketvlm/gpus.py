"""Graphics cards, asked through NVIDIA's driver (NVML): no torch, which takes seconds to load."""

from typing import Any

import pynvml

GIB = 2**30


def gpus() -> list[dict[str, Any]]:
    """`name`, `percent` busy, `used_gib` and `total_gib` of each card; none without a driver. A
    figure that a card cannot tell is None."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_card(pynvml.nvmlDeviceGetHandleByIndex(at)) for at in range(_count())]
    finally:
        pynvml.nvmlShutdown()


def _count() -> int:
    return int(pynvml.nvmlDeviceGetCount())


def _card(handle: Any) -> dict[str, Any]:
    memory = _told(pynvml.nvmlDeviceGetMemoryInfo, handle)
    busy = _told(pynvml.nvmlDeviceGetUtilizationRates, handle)
    return {
        "name": _told(pynvml.nvmlDeviceGetName, handle),
        "percent": busy and busy.gpu,
        "used_gib": memory and round(memory.used / GIB, 1),
        "total_gib": memory and round(memory.total / GIB, 1),
    }


def _told(ask: Any, handle: Any) -> Any:
    try:
        return ask(handle)
    except pynvml.NVMLError:  # not every card tells everything
        return None
